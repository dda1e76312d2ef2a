"""`asyncpay wallet`: every command except `run` sends a request to the running wallet."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from asyncpay.amounts import AmountError, parse_msat, show_sat
from asyncpay.cli import common
from asyncpay.cli.common import attached_since, error_name, show_time
from asyncpay.lightning import MAX_INVOICE_EXPIRY_DAYS
from asyncpay.terminal import literal, styled

app = typer.Typer(no_args_is_help=True, help="The wallet of a mostly offline phone: makes and receives payments.")

ConfigFile = Annotated[
    Path, typer.Option("--config", envvar="ASYNCPAY_WALLET_CONFIG", help="the wallet's TOML file", show_default=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="machine-readable, on standard output")]
DEFAULT = Path("wallet.toml")
DAY_SECONDS = 86_400
HASH_DIGITS = 16
"""The digits of a payment hash that tables show."""


@app.command()
def run(config: ConfigFile = DEFAULT) -> None:
    """Run the wallet until SIGTERM or Ctrl-C. It writes its events to standard output as JSON lines."""
    from asyncpay.cli.running import run_wallet  # here, so that the other commands do not load the wallet
    from asyncpay.config import WalletConfig

    run_wallet(common.load(config, WalletConfig))


@app.command()
def status(config: ConfigFile = DEFAULT, as_json: AsJson = False) -> None:
    """Show the node, the LSP, unfinished payments and the last errors. Exit code 1 if the node does not answer."""
    seen = _ask(config, "status")
    if as_json:
        print(json.dumps(seen, indent=2))
    else:
        node, lsp = seen["node"], seen["lsp"]
        reach = "channel usable" if lsp["channel_usable"] else "connected" if lsp["connected"] else "not connected"
        there = f"attached {attached_since(node)}" if node["attached"] else "does not answer"
        common.out.print(
            f"node     {node['node_id'] or 'not known yet'}, {there}, block {node['height_blocks'] or '-'}"
        )
        common.out.print(f"LSP      {lsp['node_id'] or 'none yet'}, {reach}")
        common.out.print(f"payments {seen['unfinished_payments']} under way")
        for error in seen["last_errors"][-3:]:
            when = show_time(error["time"]) + (f" ({error['times']} times)" if error["times"] > 1 else "")
            common.out.print(styled(f"{when} ", (error_name(error), "red"), f": {error['because']}"))
    raise typer.Exit(0 if seen["healthy"] else 1)


@app.command()
def reconnect(config: ConfigFile = DEFAULT, as_json: AsJson = False) -> None:
    """Report a push, or that the network is back, to the wallet: its node dials the LSP now, unless it is connected.

    For the phone's system or a service that receives the pushes. The command does not wait for the connection.
    """
    answer = _ask(config, "reconnect")
    _say(answer, as_json, "the LSP is connected" if answer["connected"] else "dialling the LSP")


@app.command()
def register(
    url: Annotated[str, typer.Argument(help="https URL to which the LSP posts notifications for this phone")],
    app_name: Annotated[str, typer.Option(help="the name of this registration")] = "asyncpay",
    config: ConfigFile = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Register a webhook with the LSP, to be notified while this phone is offline (LSPS5)."""
    answer = _ask(config, "register", url=url, app_name=app_name)
    _say(answer, as_json, f"registered as {app_name} ({answer['num_webhooks']} of {answer['max_webhooks']} webhooks)")


@app.command()
def webhooks(config: ConfigFile = DEFAULT, as_json: AsJson = False) -> None:
    """List the webhooks of this phone that are registered with the LSP."""
    answer = _ask(config, "webhooks")
    _say(answer, as_json, "\n".join(answer["app_names"]) or "none: register one, so that the LSP can notify this phone")


@app.command()
def unregister(
    app_name: Annotated[str, typer.Argument(help="the name of the registration")] = "asyncpay",
    config: ConfigFile = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Remove a webhook from the LSP."""
    _say(_ask(config, "unregister", app_name=app_name), as_json, f"{app_name} is no longer registered")


@app.command()
def receive(
    amount: Annotated[str, typer.Argument(help="like 1000sat or 1500msat")],
    description: Annotated[str, typer.Option(help="description in the invoice; the payer sees it")] = "",
    expiry_days: Annotated[float, typer.Option(help="days until the invoice expires", min=0.0001)] = 14,
    config: ConfigFile = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Create an invoice. The phone must be online now, and may be offline when the invoice is paid."""
    asked = {"amount_msat": _amount(amount), "description": description}
    answer = _ask(config, "receive", expiry_seconds=_expiry_seconds(expiry_days), **asked)
    _say(answer, as_json, answer["invoice"])


@app.command()
def pay(
    invoice: Annotated[str, typer.Argument(help="a BOLT 11 invoice")],
    amount: Annotated[
        str | None, typer.Option(help="the amount with its unit, if the invoice has none: 1000sat")
    ] = None,
    slack_blocks: Annotated[
        int | None,
        typer.Option(
            help="blocks for which the LSP holds the payment; 0: until the next. Default: that of [policy], 432",
            min=0,
        ),
    ] = None,
    max_part: Annotated[
        str | None, typer.Option(help="split the payment into parts of at most this amount: 1000sat")
    ] = None,
    hold_for: Annotated[
        int | None,
        typer.Option(
            help="seconds for which the LSP holds the payment. Default: almost until the invoice expires", min=1
        ),
    ] = None,
    private: Annotated[
        bool,
        typer.Option(
            "--private",
            help="do not send the invoice to the LSP; if it runs LND this phone must then be online for the release",
        ),
    ] = False,
    literal_release: Annotated[
        bool,
        typer.Option(
            "--literal-release",
            help="send no reply path: the payee builds it from the node ids of payer and LSP, which it thus learns",
        ),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="wait until the payment is settled or has failed")] = False,
    config: ConfigFile = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Pay an invoice; the payee receives the payment when it is online.

    Ends as soon as this phone may go offline (with --wait: when the payment is decided). Exit code 1 if it failed.
    """
    wish = {
        "invoice": invoice,
        "amount_msat": None if amount is None else _amount(amount),
        "slack_blocks": slack_blocks,
        "hold_for_seconds": hold_for,
        "max_part_msat": None if max_part is None else _amount(max_part),
        "private": private,
        "literal_release": literal_release,
        "wait": wait,
    }
    payment = _ask(config, "pay", (lambda _: None) if as_json else _Progress(), **wish)
    if as_json:
        print(json.dumps(payment, indent=2))
    elif payment["state"] == "handed over":
        common.out.print(styled(("handed over:", "green"), " the phone may go offline"))
    elif payment["state"] == "settled":
        common.out.print(styled(("settled:", "green"), f" preimage {payment['preimage']}"), soft_wrap=True)
    if payment["state"] == "failed":
        common.fail(f"payment {payment['payment_hash']} failed: {payment['failure']}", 1)


@app.command()
def payments(config: ConfigFile = DEFAULT, as_json: AsJson = False) -> None:
    """List the payments of this wallet, and those announced to it. With --json the payment hashes are complete."""
    answer = _ask(config, "payments")
    if as_json:
        print(json.dumps(answer, indent=2))
        return
    sent = Table(_hash_column(), "state", "amount", "fee", "for", "since", title="sent")
    for each in answer["sent"]:
        state = each["state"] + (", cancelling" if each["cancelled"] and each["ended_at"] is None else "")
        if each["outcome_unsure_until"] is not None:
            state += ", outcome not known yet"
        amounts = show_sat(each["amount_msat"]), show_sat(each["fee_msat"])
        sent.add_row(
            each["payment_hash"][:HASH_DIGITS], state, *amounts, each["description"], _clock(each["created_at"])
        )
    announced = Table(_hash_column(), "state", "amount", "releases sent", "since", title="announced by payers")
    for each in answer["announced"]:
        hashes = "\n".join(payment_hash[:HASH_DIGITS] for payment_hash in each["payment_hashes"])
        sent_releases = str(each["releases_sent"])
        announced.add_row(
            hashes, each["state"], show_sat(each["amount_msat"]), sent_releases, _clock(each["announced_at"])
        )
    common.out.print(sent, announced)


@app.command()
def cancel(
    payment_hash: Annotated[str, typer.Argument(help="the first digits suffice, as `payments` shows them")],
    config: ConfigFile = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Ask the LSP to return a payment that is not released yet."""
    if not re.fullmatch("[0-9a-f]{4,64}", payment_hash.lower()):
        common.fail(f"{payment_hash!r} is not a payment hash. Write 64 hex digits, or the first 4 or more", 2)
    payment = _ask(config, "cancel", payment_hash=payment_hash.lower())
    _say(payment, as_json, f"cancel requested for {payment['payment_hash']}; it is {payment['state']}")


def _hash_column() -> Column:
    """Return the column of payment hashes. It is never cut or wrapped, because `cancel` accepts its content."""
    return Column("payment hash", no_wrap=True, min_width=HASH_DIGITS)


def _ask(config: Path, verb: str, progress: Callable[[Any], None] = lambda _: None, /, **arguments: Any) -> Any:
    return common.ask(config, "wallet", verb, progress, **arguments)


def _say(answer: Any, as_json: bool, sentence: str) -> None:
    """Print the answer. Text that users copy is never wrapped or coloured."""
    print(json.dumps(answer, indent=2) if as_json else literal(sentence))


class _Progress:
    """Print a line for each state except the last."""

    def __init__(self) -> None:
        self._shown = ""

    def __call__(self, payment: Any) -> None:
        state = payment["state"]
        if payment["ended_at"] is None and state not in (self._shown, "handed over"):
            common.out.print(f"{_clock(time.time())} {state}")
            self._shown = state


def _amount(text: str) -> int:
    try:
        return parse_msat(text)
    except AmountError as error:
        common.fail(error, 2)


def _expiry_seconds(days: float) -> int:
    if not 0 < days <= MAX_INVOICE_EXPIRY_DAYS:  # false for NaN
        common.fail(f"--expiry-days {days:g}: an invoice can last {MAX_INVOICE_EXPIRY_DAYS} days at most", 2)
    return int(days * DAY_SECONDS)


def _clock(unix_seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(unix_seconds))
