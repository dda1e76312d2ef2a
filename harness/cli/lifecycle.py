"""`testbed up`, `down`, `list`, `stop`, `start`, `restart`, `kill` and `demo`."""

import json
from typing import Annotated

import typer

from harness.cli.common import AsJson, Which, err, errors_as_sentences, out, services, testbeds, topologies
from harness.errors import TestbedError

_SERVICE_HELP = "a node or phone, LSP_a-lsp, bitcoind, push or toxiproxy"
Service = Annotated[str | None, typer.Argument(help=f"{_SERVICE_HELP}; all if omitted", autocompletion=services)]
OneService = Annotated[str, typer.Argument(help=_SERVICE_HELP, autocompletion=services)]


def up(
    topology: Annotated[
        str,
        typer.Argument(
            help="a topology file, or a shipped one: line (LND), line-cln, line-ldk, line-mixed, two-channels, ...",
            autocompletion=topologies,
        ),
    ],
    name: Annotated[str | None, typer.Option(help="the testbed's name; default: the topology's name")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NODE=...",
            help="another implementation (LSP_a=cln), or a field of a node (LSP_a.component=asyncpay); repeatable",
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="neither restore a snapshot nor save one")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a testbed: containers, coins, channels; return when every node has the whole graph.

    The first testbed of a topology saves a snapshot, from which later ones are restored.
    """
    from harness import snapshots
    from harness.cli.tables import phases_table
    from harness.progress import Phases
    from harness.testbed import Testbed
    from harness.topology import load

    with errors_as_sentences():
        testbed = Testbed.prepare(load(topology, _settings(settings or [])), name, report=_progress, supervised=True)
        phases = Phases()
        try:
            with err.status("") as spinner:
                phases.on_start = lambda phase: spinner.update(f"{testbed.name}: {phase}")
                snapshots.up(testbed, phases, _progress, fresh=fresh)
        except KeyboardInterrupt:
            err.print(f"stopped: removing the containers of testbed {testbed.name}")
            testbed.down()
            raise typer.Exit(130) from None
        except TestbedError as error:
            raise TestbedError(
                f"{error}\ntestbed {testbed.name} is kept for inspection: "
                f"`testbed logs NODE -t {testbed.name}`; remove it with `testbed down -t {testbed.name}`"
            ) from None
    if as_json:
        print(json.dumps({"testbed": testbed.name, "phases_seconds": phases.seconds}))
    else:
        out.print(phases_table(testbed.name, phases))


def down(
    name: Annotated[
        str | None, typer.Argument(help="the testbed's name, as with --testbed", autocompletion=testbeds)
    ] = None,
    which: Which = None,
    every: Annotated[bool, typer.Option("--all", help="every testbed of this user")] = False,
) -> None:
    """Remove a testbed: its containers, network, volumes and folder; nothing else."""
    from harness.folders import choose, names
    from harness.testbed import remove

    with errors_as_sentences():
        for each in names() if every else [choose(name or which)]:
            remove(each)
            out.print(f"removed testbed {each}")


def demo(which: Which = None) -> None:
    """Show an async payment in eight steps: A pays B, and the two are never online at the same time.

    With --testbed on that testbed; otherwise on a new one, which is removed at the end, as in `make demo`.
    """
    from harness.cli import demo as eight_steps
    from harness.testbed import Testbed

    with errors_as_sentences():
        try:
            eight_steps.run(out, Testbed.attach(which) if which else None)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def list_(as_json: AsJson = False) -> None:
    """List the testbeds on this machine."""
    from harness.folders import names

    with errors_as_sentences():
        there = names()
    if as_json:
        print(json.dumps(there))
    else:
        print(*there, sep="\n", end="\n" if there else "")


def stop(service: Service = None, which: Which = None) -> None:
    """Shut down a service cleanly, or all of them: nothing is lost. `testbed start` starts them again."""
    from harness import verbs
    from harness.testbed import Testbed

    with errors_as_sentences():
        verbs.stop(Testbed.attach(which), service)


def start(service: Service = None, which: Which = None) -> None:
    """Start a service that was stopped or killed, or all of them; return when everything that runs works again."""
    from harness import verbs
    from harness.testbed import Testbed

    with errors_as_sentences():
        verbs.start(Testbed.attach(which), service)


def restart(service: Service = None, which: Which = None) -> None:
    """Stop and start a service, or all of them; return when everything that runs works again."""
    from harness import verbs
    from harness.testbed import Testbed

    with errors_as_sentences():
        verbs.restart(Testbed.attach(which), service)


def kill(service: OneService, which: Which = None) -> None:
    """Kill a service (SIGKILL). It stays down until `testbed start`."""
    from harness import verbs
    from harness.testbed import Testbed

    with errors_as_sentences():
        verbs.kill(Testbed.attach(which), service)


def _progress(line: str) -> None:
    err.print(line, soft_wrap=True)


def _settings(pairs: list[str]) -> dict[str, str]:
    from harness.topology import IMPLEMENTATIONS

    for pair in pairs:
        if "=" not in pair:
            raise TestbedError(
                f"--set {pair}: write it as NODE=IMPLEMENTATION ({', '.join(IMPLEMENTATIONS)}) or NODE.field=value"
            )
    return dict(pair.split("=", 1) for pair in pairs)
