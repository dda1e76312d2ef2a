"""`asyncpay lsp`: runs the LSP, or shows the status of the running LSP."""

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from asyncpay.cli import common
from asyncpay.log_events import LogEvent

app = typer.Typer(
    invoke_without_command=True,
    short_help="The LSP: holds HTLCs, stores onion messages, notifies phones.",
    subcommand_metavar="[COMMAND] [ARGS]...",
)

_CONFIG_HELP = "the LSP's TOML file (see docs/components.md); lsp.toml by default"
ConfigFile = Annotated[Path | None, typer.Option("--config", envvar="ASYNCPAY_LSP_CONFIG", help=_CONFIG_HELP)]
ConfigOfCommand = Annotated[
    Path | None, typer.Option("--config", help="the TOML file of the running LSP, the same as it was started with")
]
DEFAULT = Path("lsp.toml")

SHOWN_DIGITS = 8
"""The digits of a hash or a node id in tables; `--json` has them in full."""


@app.callback()
def run(context: typer.Context, config: ConfigFile = None) -> None:
    """Without a command: run the LSP until SIGTERM or Ctrl-C. With one: ask the running LSP.

    It runs in the foreground, and writes its events to standard output as JSON lines.
    """
    config = config or DEFAULT
    context.obj = config  # for a subcommand, which may have its own
    if context.invoked_subcommand is None:
        from asyncpay.cli.running import run_lsp  # here, so that the other commands do not load the LSP
        from asyncpay.config import LspConfig

        run_lsp(common.load(config, LspConfig))


@app.command()
def status(
    context: typer.Context,
    config: ConfigOfCommand = None,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable, on standard output")] = False,
) -> None:
    """Show the node, held HTLCs with age and deadlines, mailbox, webhooks and last errors. Exit code 1 if unhealthy."""
    seen = _ask(config or context.obj)
    if as_json:
        print(json.dumps(seen, indent=2))
    else:
        common.out.print(*tables(seen))
    raise typer.Exit(0 if seen["healthy"] else 1)


@app.command()
def health(context: typer.Context, config: ConfigOfCommand = None) -> None:
    """Exit with code 0 if the LSP runs and its node is attached, otherwise 1: for a container's health check."""
    raise typer.Exit(0 if _ask(config or context.obj)["healthy"] else 1)


@app.command()
def follow(
    context: typer.Context,
    config: ConfigOfCommand = None,
    events: Annotated[
        list[str] | None, typer.Option("--event", metavar="NAME", help="only lines of this event; repeatable")
    ] = None,
    payment: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="only lines with this payment or unblock hash, or its first digits"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the lines as logged")] = False,
) -> None:
    """Show the LSP's events as they happen, one line each, until Ctrl-C."""
    known = {str(event) for event in LogEvent}
    if unknown := sorted(set(events or ()) - known):
        near = [name for each in unknown for name in difflib.get_close_matches(each, known, n=1)]
        choice = f"did you mean {' and '.join(near)}?" if near else f"choose from: {', '.join(sorted(known))}"
        common.fail(f"--event {', '.join(unknown)}: there is no such event; {choice}", 2)

    def show(line: common.Status | None) -> None:
        if line is None or (events and line.get("what") not in events) or (payment and not _names(line, payment)):
            return
        if as_json:
            print(json.dumps(line), flush=True)
        else:
            common.out.print(common.log_line(line), soft_wrap=True)

    try:
        common.ask(config or context.obj, "LSP", "follow", show)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _names(line: common.Status, prefix: str) -> bool:
    """Return whether a line contains this payment or unblock hash."""
    hashes = [line.get("payment_hash"), line.get("block"), *line.get("payment_hashes", ())]
    return any(isinstance(each, str) and each.startswith(prefix.lower()) for each in hashes)


def _ask(config: Path) -> common.Status:
    seen: common.Status = common.ask(config, "LSP", "status")
    return seen


def tables(status: common.Status) -> Iterator[Table]:
    """Yield one table for each subject; empty subjects are omitted."""
    node = status["node"]
    yield _table(
        "node",
        ["attached", "network", "block", "peers online"],
        [[common.attached_since(node), node["network"], str(node["height_blocks"]), str(len(node["peers_online"]))]],
    )
    blocks = [
        [
            block["unblock_hash"][:SHOWN_DIGITS],
            "\n".join(payment_hash[:SHOWN_DIGITS] for payment_hash in block["payment_hashes"]),
            block["client"][:SHOWN_DIGITS],
            block["state"],
            f"{block['amount_msat']} msat",
            f"{len(block['parts'])}, oldest {max((part['age_seconds'] for part in block['parts']), default=0):.0f} s",
            f"block {block['release_by_height']}",
        ]
        for block in status["blocks"]
    ]
    if blocks:
        yield _table(
            "held payments",
            ["unblock hash", "payment hash", "client", "state", "amount", "parts", "release by"],
            blocks,
        )
    if waiting := status["waiting_for_a_client"]:
        rows = [
            [
                part["short_channel_id"] or "closed",
                part["htlc"].rpartition("/")[2],
                f"{part['amount_msat']} msat",
                f"{part['age_seconds']:.0f} s",
            ]
            for part in waiting
        ]
        yield _table("HTLCs that wait for an offline client", ["channel", "HTLC", "amount", "age"], rows)
    if mailbox := status["mailbox"]:
        rows = [[client[:SHOWN_DIGITS], str(box_["messages"]), str(box_["bytes"])] for client, box_ in mailbox.items()]
        yield _table("mailbox", ["client", "messages", "bytes"], rows)
    if hooks := status["webhooks"]:
        yield _table(
            "webhooks", ["client", "app", "url"], [[h["client"][:SHOWN_DIGITS], h["app_name"], h["url"]] for h in hooks]
        )
    if errors := status["last_errors"]:
        rows = [[common.show_time(e["time"]), str(e["times"]), common.error_name(e), e["because"]] for e in errors]
        yield _table("last errors", ["last at", "times", "what", "because"], rows)


def _table(title: str, headings: list[str], rows: list[list[str]]) -> Table:
    table = Table(*headings, title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    return table
