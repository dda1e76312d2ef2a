"""`testbed reset` and `testbed snapshot`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.common import AsJson, Which, err, errors_as_sentences, out
from harness.errors import TestbedError

if TYPE_CHECKING:
    from harness.snapshots import Snapshot

app = typer.Typer(no_args_is_help=True, help="Snapshots: the funded states that `testbed up` starts from.")


def names() -> list[str]:
    """The names of the snapshots, for completion."""
    from harness import snapshots
    from harness.engines import open_volume_store

    try:
        return [snapshot.name for snapshot in snapshots.all_of(open_volume_store())]
    except TestbedError:
        return []


Name = Annotated[str, typer.Argument(help="its name, as in `testbed snapshot list`", autocompletion=names)]


def reset(which: Which = None, as_json: AsJson = False) -> None:
    """Restore a testbed to the state after `up`, in place: it keeps its name, its folder and its addresses."""
    from harness import snapshots
    from harness.cli.tables import phases_table
    from harness.progress import Phases
    from harness.testbed import Testbed

    with errors_as_sentences():
        testbed = Testbed.attach(which)
        phases = Phases()
        with err.status("") as spinner:
            phases.on_start = lambda phase: spinner.update(f"{testbed.name}: {phase}")
            snapshots.reset(testbed, phases, lambda line: err.print(line, soft_wrap=True))
    if as_json:
        print(json.dumps({"testbed": testbed.name, "phases_seconds": phases.seconds}))
    else:
        out.print(phases_table(testbed.name, phases))


@app.command()
def save(which: Which = None) -> None:
    """Save a testbed's state as the snapshot of its topology: later testbeds start from it. No HTLC may be held."""
    from harness import snapshots
    from harness.engines import open_volume_store
    from harness.testbed import Testbed

    with errors_as_sentences():
        testbed = Testbed.attach(which)
        snapshots.save(testbed, open_volume_store())
        out.print(f"saved testbed {testbed.name} as snapshot {testbed.snapshot}")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the snapshots on the Docker engine, oldest first."""
    from harness import snapshots
    from harness.cli.tables import snapshots_table
    from harness.engines import open_volume_store

    with errors_as_sentences():
        there = snapshots.all_of(open_volume_store())
    if as_json:
        print(json.dumps([_plain(snapshot) for snapshot in there]))
    else:
        out.print(snapshots_table(there))


def _plain(snapshot: "Snapshot") -> dict[str, object]:
    return {
        "name": snapshot.name,
        "size_bytes": snapshot.volumes.size_bytes,
        "saved_at": snapshot.volumes.saved_at.isoformat(),
        **snapshot.facts.model_dump(),
    }


@app.command()
def rm(snapshots: Annotated[list[str], typer.Argument(help="their names", autocompletion=names)]) -> None:
    """Remove snapshots. Testbeds that were restored from them are not touched."""
    from harness.engines import open_volume_store

    with errors_as_sentences():
        store = open_volume_store()
        there = {saved.name for saved in store.saved()}
        if unknown := [name for name in snapshots if name not in there]:
            raise TestbedError(f"there is no snapshot {', '.join(unknown)}. `testbed snapshot list` shows all")
        for name in snapshots:
            store.remove(name)
            out.print(f"removed snapshot {name}")


@app.command()
def prune(
    most_mb: Annotated[int, typer.Option(min=0, metavar="MB", help="limit for all snapshots together")] = 2_000,
) -> None:
    """Remove snapshots that cannot be read, and the oldest ones until the rest is within the limit."""
    from harness import snapshots
    from harness.engines import open_volume_store

    with errors_as_sentences():
        for name in snapshots.prune(open_volume_store(), most_mb * 1_000_000):
            out.print(f"removed snapshot {name}")


@app.command("export")
def export_(snapshot: Name, file: Path) -> None:
    """Write a snapshot to a file, for another machine with the same images."""
    from harness.engines import open_volume_store
    from harness.snapshots import export_to

    with errors_as_sentences():
        export_to(snapshot, file, open_volume_store())
        out.print(f"wrote snapshot {snapshot} to {file}")


@app.command("import")
def import_(file: Path) -> None:
    """Save a snapshot that `export` wrote. It is used if topology and images are the same."""
    from harness.engines import open_volume_store
    from harness.snapshots import import_from

    with errors_as_sentences():
        imported = import_from(file, open_volume_store())
        out.print(f"imported snapshot {imported.name} of topology {imported.facts.topology}")
