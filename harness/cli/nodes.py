"""`testbed status`, `pay`, `exec`, `logs` and `mine`."""

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from asyncpay.amounts import parse_msat, show_sat
from harness.cli.common import AsJson, Node, Which, errors_as_sentences, out, services

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Group

    from harness.checks.status import Status

Service = Annotated[
    str,
    typer.Argument(help="a node, LSP_a-lsp for an LSP's component, A-wallet, or bitcoind", autocompletion=services),
]
Container = Annotated[
    str,
    typer.Argument(
        help="a node or phone, LSP_a-lsp, A-wallet (only its events), bitcoind, miner, push or toxiproxy",
        autocompletion=services,
    ),
]


def status(
    which: Which = None,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="repeat until Ctrl-C; JSON: one line per poll")] = False,
    interval: Annotated[float, typer.Option(min=0.2, max=3600, metavar="SECONDS", help="between two polls")] = 2,
) -> None:
    """Show nodes, heights, LSP components, phones, and channels with balances."""
    from harness.checks import status as checked
    from harness.testbed import Testbed

    with errors_as_sentences():
        testbed = Testbed.attach(which)
        if watch:
            _watch(lambda: checked.look(testbed), as_json, interval)
            return
        seen = checked.look(testbed)
    if as_json:
        print(json.dumps(seen.as_json(), indent=2))
    else:
        out.print(_tables(seen))


def _watch(look: "Callable[[], Status]", as_json: bool, interval_seconds: float) -> None:
    """Show one status after the other: in place on a terminal, below each other elsewhere."""
    from rich.live import Live

    try:
        if as_json or not out.is_terminal:
            while True:
                seen = look()
                print(json.dumps(seen.as_json()), flush=True) if as_json else out.print(_tables(seen))
                time.sleep(interval_seconds)
        with Live(_tables(look()), console=out, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(interval_seconds)
                live.update(_tables(look()), refresh=True)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _tables(seen: "Status") -> "Group":
    from rich.console import Group

    from harness.cli import tables

    components = [tables.components_table(seen)] if seen.components else []
    phones = [tables.phones_table(seen)] if seen.phones else []
    return Group(tables.nodes_table(seen), *components, *phones, tables.channels_table(seen))


def pay(
    payer: Node,
    payee: Node,
    amount: Annotated[str, typer.Argument(help="with its unit: 1000sat, 1500msat, 0.01btc")],
    which: Which = None,
    as_json: AsJson = False,
) -> None:
    """Pay an invoice of PAYEE from PAYER, and wait until none of its HTLCs is left on any channel."""
    from harness import verbs
    from harness.testbed import Testbed

    with errors_as_sentences():
        amount_msat = parse_msat(amount)
        payment = verbs.pay(Testbed.attach(which), payer, payee, amount_msat)
    if as_json:
        print(json.dumps(vars(payment)))
    else:
        out.print(
            f"{payer} paid {payee} {show_sat(payment.amount_msat)}, fee {show_sat(payment.fee_msat)}, "
            f"preimage {payment.preimage}",
            soft_wrap=True,
        )


def exec_(
    service: Service,
    arguments: Annotated[list[str], typer.Argument(help="for its own CLI, after --: getinfo")],
    which: Which = None,
) -> None:
    """Run the service's own CLI: lncli, lightning-cli, asyncpay lsp, asyncpay wallet or bitcoin-cli."""
    from harness.testbed import Testbed

    with errors_as_sentences():
        testbed = Testbed.attach(which)
        code = testbed.engine.run(testbed.service_of(service), [*testbed.cli(service), *arguments])
    raise typer.Exit(code)


def env(
    node: Annotated[str, typer.Argument(help="a node's name, or bitcoind", autocompletion=services)],
    which: Which = None,
    as_json: AsJson = False,
) -> None:
    """Make lncli, lightning-cli and bitcoin-cli of this machine work on a node: eval "$(testbed env LSP_a)".

    Prints shell commands: a folder for PATH, TESTBED, and variables for other programs (LNDCONNECT; with `rest: true`
    in the topology LND_REST, or CLN_REST and CLN_RUNE). Ports change when a container is restarted: then repeat it.
    """
    from harness import host_access
    from harness.testbed import Testbed

    with errors_as_sentences():
        found = host_access.environment(Testbed.attach(which), node)
    print(json.dumps(found.as_json(), indent=2) if as_json else found.as_shell())


def logs(
    service: Container,
    which: Which = None,
    tail: Annotated[int | None, typer.Option(min=1, help="only the last N lines")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="continue with new lines, until it stops or Ctrl-C")
    ] = False,
) -> None:
    """Print a container's log since it was created, each line with its time."""
    from harness.testbed import Testbed

    with errors_as_sentences():
        testbed = Testbed.attach(which)
        if not follow:
            _show_log(testbed.logs(service, tail=tail))
            return
        try:
            for line in testbed.follow_logs(service, tail):
                _show_log(line)
                sys.stdout.flush()
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def _show_log(printed: bytes) -> None:
    """Print text with escaped control characters to a terminal, unchanged bytes to programs."""
    if sys.stdout.isatty():
        out.print(printed.decode(errors="replace"), end="", soft_wrap=True)
    else:
        sys.stdout.buffer.write(printed)


def mine(
    blocks: Annotated[int, typer.Argument(min=1, max=2016)] = 1, which: Which = None, as_json: AsJson = False
) -> None:
    """Mine blocks and wait until all running nodes are synced to them."""
    from harness import verbs
    from harness.testbed import Testbed

    with errors_as_sentences():
        height_blocks = verbs.mine(Testbed.attach(which), blocks)
    if as_json:
        print(json.dumps({"height_blocks": height_blocks}))
    else:
        out.print(f"block {height_blocks}")
