"""`testbed`: real Lightning nodes on regtest, in containers, from a topology file."""

import json
import signal
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.table import Table

from asyncpay.amounts import parse_msat, show_sat
from asyncpay.terminal import styled
from harness import bringup, doctor
from harness.checks import status as status_view
from harness.cli import demo, matrix, phone, push
from harness.cli.common import AsJson, Which, err, errors_as_sentences, out
from harness.errors import TestbedError
from harness.folders import choose, names
from harness.images import services
from harness.nodes import IMPLEMENTATIONS
from harness.nodes.predicates import payment_gone
from harness.progress import Phases
from harness.testbed import Testbed, remove
from harness.topology import load
from harness.waits import wait_for

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=__doc__,
)
Service = Annotated[str, typer.Argument(help="a node, LSP_a-lsp for an LSP's component, A-wallet, or bitcoind")]
Container = Annotated[
    str,
    typer.Argument(help="a node or phone, LSP_a-lsp, A-wallet (its events alone), bitcoind, miner, push or toxiproxy"),
]

app.add_typer(phone.app, name="phone")
app.command("pushes")(push.pushes)
app.command("push-gateway")(push.push_gateway)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"testbed {version('asyncpay-testbed')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """What `testbed` takes before any command."""


def main() -> None:
    """The `testbed` command."""
    # A terminated `up` cleans up behind itself just like one stopped by Ctrl-C; also in the background, where shells
    # have SIGINT ignored.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with errors_as_sentences():
        app()


@app.command()
def up(
    topology: Annotated[str, typer.Argument(help="a topology file, or a shipped one: line, line-cln, line-mixed, ...")],
    name: Annotated[str | None, typer.Option(help="the testbed's name; the topology's if not given")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NODE=...", help="LSP_a=cln, A.version=v0.21.1-beta, LSP_a.component=asyncpay"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start a testbed: containers, coins, channels, until every node sees the whole graph."""
    with errors_as_sentences():
        testbed = Testbed.prepare(load(topology, _settings(settings or [])), name, report=_progress)
        phases = Phases()
        try:
            with err.status("") as spinner:
                phases.on_start = lambda phase: spinner.update(f"{testbed.name}: {phase}")
                bringup.up(testbed, phases)
        except KeyboardInterrupt:
            err.print(f"stopped: removing what testbed {testbed.name} has so far")
            testbed.down()
            raise typer.Exit(130) from None
        except TestbedError as error:
            raise TestbedError(
                f"{error}\ntestbed {testbed.name} is left as it is for a look: "
                f"`testbed logs NODE -t {testbed.name}`; remove it with `testbed down -t {testbed.name}`"
            ) from None
    if as_json:
        print(json.dumps({"testbed": testbed.name, "phases_seconds": phases.seconds}))
    else:
        out.print(_phases_table(testbed.name, phases))


@app.command()
def status(which: Which = None, as_json: AsJson = False) -> None:
    """Nodes, heights, LSPs' components, phones, channels with balances."""
    with errors_as_sentences():
        seen = status_view.look(Testbed.attach(which))
    if as_json:
        print(json.dumps(seen.as_json(), indent=2))
    else:
        components = [status_view.components_table(seen)] if seen.components else []
        phones = [status_view.phones_table(seen)] if seen.phones else []
        out.print(status_view.nodes_table(seen), *components, *phones, status_view.channels_table(seen))


@app.command()
def pay(
    payer: str,
    payee: str,
    amount: Annotated[str, typer.Argument(help="with its unit: 1000sat, 1500msat, 0.01btc")],
    which: Which = None,
    as_json: AsJson = False,
) -> None:
    """Pay an invoice of PAYEE from PAYER, and wait until no HTLC of it is left on the way."""
    with errors_as_sentences():
        amount_msat = parse_msat(amount)
        testbed = Testbed.attach(which)
        payment = testbed.pay(payer, payee, amount_msat)
        wait_for(payment_gone(testbed.running(), payment.payment_hash))
    if as_json:
        print(json.dumps(vars(payment)))
    else:
        out.print(
            f"{payer} paid {payee} {show_sat(payment.amount_msat)}, fee {show_sat(payment.fee_msat)}, "
            f"preimage {payment.preimage}",
            soft_wrap=True,
        )


@app.command(name="exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def exec_(
    service: Service,
    arguments: Annotated[list[str], typer.Argument(help="for its own CLI, after --: getinfo")],
    which: Which = None,
) -> None:
    """The own command line of what runs there: lncli, lightning-cli, asyncpay lsp, asyncpay wallet or bitcoin-cli."""
    with errors_as_sentences():
        testbed = Testbed.attach(which)
        code = testbed.engine.run(testbed.service_of(service), [*testbed.cli(service), *arguments])
    raise typer.Exit(code)


@app.command()
def logs(service: Container, which: Which = None) -> None:
    """What a container printed since it was made, each line with its time."""
    with errors_as_sentences():
        sys.stdout.buffer.write(Testbed.attach(which).logs(service))


@app.command()
def mine(
    blocks: Annotated[int, typer.Argument(min=1, max=2016)] = 1, which: Which = None, as_json: AsJson = False
) -> None:
    """Mine blocks and wait until all nodes have seen them."""
    with errors_as_sentences():
        height_blocks = Testbed.attach(which).mine(blocks)
    if as_json:
        print(json.dumps({"height_blocks": height_blocks}))
    else:
        out.print(f"block {height_blocks}")


@app.command()
def down(
    name: Annotated[str | None, typer.Argument(help="which testbed, as with --testbed")] = None,
    which: Which = None,
    every: Annotated[bool, typer.Option("--all", help="every testbed of this user")] = False,
) -> None:
    """Remove a testbed: containers, network, volumes, folder; nothing else."""
    with errors_as_sentences():
        for each in names() if every else [choose(name or which)]:
            remove(each)
            out.print(f"removed testbed {each}")


@app.command("demo")
def demo_(which: Which = None) -> None:
    """A pays B, never online together, in eight steps: on the testbed that is named, or on one of its own.

    Its own is removed at the end: that is what `make demo` runs.
    """
    with errors_as_sentences():
        try:
            demo.run(out, Testbed.attach(which) if which else None)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


app.command("matrix")(matrix.run)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """The testbeds on this machine."""
    with errors_as_sentences():
        there = names()
    if as_json:
        print(json.dumps(there))
    else:
        print(*there, sep="\n", end="\n" if there else "")


@app.command("images")
def images_() -> None:
    """Pull or make the container images, as far as this machine can."""
    raise typer.Exit(services.main())


@app.command("doctor")
def doctor_(as_json: AsJson = False) -> None:
    """What this machine has and lacks. Exit code 1 if something is missing that everything needs."""
    with errors_as_sentences():
        checks = doctor.checks()
    if as_json:
        print(json.dumps([vars(check) for check in checks], indent=2))
    else:
        out.print(_doctor_table(checks))
    raise typer.Exit(int(any(check.state is doctor.State.MISSING for check in checks)))


def _progress(line: str) -> None:
    err.print(line, soft_wrap=True)


def _settings(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise TestbedError(
                f"--set {pair}: write it as NODE=IMPLEMENTATION ({', '.join(IMPLEMENTATIONS)}) or NODE.field=value"
            )
    return dict(pair.split("=", 1) for pair in pairs)


def _phases_table(name: str, phases: Phases) -> Table:
    table = Table(title=f"testbed {name} is up", title_justify="left", show_header=False)
    for phase, seconds in phases.seconds.items():
        table.add_row(phase, f"{seconds:.1f} s")
    table.add_row("all", f"{phases.total_seconds:.1f} s", style="bold")
    return table


def _doctor_table(checks: list[doctor.Check]) -> Table:
    colours = {doctor.State.OK: "green", doctor.State.WARNING: "yellow", doctor.State.MISSING: "red"}
    table = Table("", "", "found", "what to do")
    for check in checks:
        table.add_row(styled((check.state.value, colours[check.state])), check.name, check.detail, check.remedy)
    return table
