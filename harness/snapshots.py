"""`up` from a snapshot: the first testbed of a topology saves its funded state, and later ones start with it.

A snapshot is the content of all volumes of a testbed at one moment after bring-up. Its name is a digest of everything
that determines this state (harness.compose.snapshot_name), so it is never used for another topology, other images or
other arguments.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness import bringup
from harness.checks import balances
from harness.checks.early_exits import bitcoind_watched, unless_ended
from harness.engines import open_volume_store
from harness.engines.base import EngineError, SavedVolumes, VolumeStore
from harness.errors import NodeError, TestbedError
from harness.folders import PART
from harness.progress import Phases, Report, each
from harness.services.lsp import interceptor_attached
from harness.testbed import Testbed
from harness.waits import WaitTimeoutError, wait_for

MOST_BYTES = 2_000_000_000
"""The default limit of all snapshots together on the engine's disk."""
UNAIDED_SECONDS = 10
"""The time for nodes to dial their peers by themselves."""


class SnapshotError(TestbedError):
    """A restored testbed differs from its snapshot; the message says what differs."""


class Facts(BaseModel):
    """The recorded state of a snapshot. Node ids in hex, balances like those of `balances.count`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    topology: str
    node_ids: dict[str, str]
    channels_msat: dict[str, int]
    height_blocks: int


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that can be restored."""

    name: str
    facts: Facts
    volumes: SavedVolumes


def found(name: str | None, store: VolumeStore) -> Snapshot | None:
    """Return the snapshot with this name, unless it cannot be read."""
    return next((snapshot for snapshot in all_of(store) if snapshot.name == name), None)


def all_of(store: VolumeStore) -> list[Snapshot]:
    """Return every snapshot that can be read, oldest first."""
    readable = []
    for saved in store.saved():
        try:
            readable.append(Snapshot(saved.name, Facts.model_validate_json(saved.facts), saved))
        except ValidationError:
            continue
    return readable


def up(testbed: Testbed, phases: Phases, report: Report = lambda _: None, *, fresh: bool = False) -> None:
    """Start a prepared testbed from the snapshot of its topology; if there is none, bring it up and save one.

    fresh: neither use nor save one. A snapshot whose restored state differs is removed. Raises the errors of
    `bringup.up`.
    """
    if fresh or testbed.snapshot is None:
        return bringup.up(testbed, phases)
    store = open_volume_store()
    snapshot = found(testbed.snapshot, store)
    if snapshot is not None:
        try:
            return restore(testbed, snapshot, phases)
        except (EngineError, NodeError, SnapshotError, WaitTimeoutError, balances.BalanceError) as error:
            report(f"snapshot {snapshot.name} cannot be used and is removed: {error}")
            store.remove(snapshot.name)
            testbed.clear()
            phases.seconds.clear()
    bringup.up(testbed, phases)
    if found(testbed.snapshot, store) is None:  # if another testbed has saved one meanwhile, others may use it now
        with phases.phase("snapshot saved"):
            try:
                save(testbed, store)
            except EngineError as error:
                report(f"no snapshot was saved: {error}")
    return None


def reset(testbed: Testbed, phases: Phases, report: Report = lambda _: None) -> None:
    """Remove everything of a testbed from the engine and start it like `up`. Its compose file is not changed."""
    with phases.phase("removed"):
        testbed.clear()
    up(testbed, phases, report)


def restore(testbed: Testbed, snapshot: Snapshot, phases: Phases) -> None:
    """Start a prepared testbed, of which nothing is on the engine, with the state of a snapshot.

    Return when its state is that after `bringup.up`. Raises SnapshotError if it differs from the snapshot, and the
    errors of `bringup.up`.
    """
    with phases.phase("volumes filled"):
        testbed.engine.fill_volumes(snapshot.name)
    with phases.phase("containers"), bitcoind_watched(testbed.engine):
        testbed.create()
    with phases.phase("nodes ready"):
        bringup.reach_chain(testbed)
        wait_for(bringup.nodes_ready(testbed), 90)
        _check(
            testbed,
            "node ids",
            {name: node.info().node_id for name, node in testbed.nodes.items()},
            snapshot.facts.node_ids,
        )
        testbed.remember_node_ids()
    with phases.phase("channels usable"):
        _use_channels(testbed)
        _check(testbed, "balances", balances.count(testbed).channels_msat, snapshot.facts.channels_msat)
    with phases.phase("graph complete"):
        bringup.wait_for_graph(testbed)
    if testbed.lsps:
        with phases.phase("components attached"):
            attached = [unless_ended(testbed, lsp.name, interceptor_attached(lsp)) for lsp in testbed.lsps.values()]
            each(wait_for, attached)
    if testbed.phones:
        with phases.phase("wallets ready"):
            each(
                lambda phone: wait_for(unless_ended(testbed, phone.name, phone.wallet.ready())), testbed.phones.values()
            )


def _use_channels(testbed: Testbed) -> None:
    """Wait until every channel is usable. Nodes dial their peers by themselves; if one does not, make it dial."""
    try:
        wait_for(bringup.channels_active(testbed), UNAIDED_SECONDS)
    except WaitTimeoutError:
        each(lambda name: wait_for(testbed.channels_usable(name), 60), testbed.nodes)
        wait_for(bringup.channels_active(testbed))


def _check(testbed: Testbed, what: str, there: object, wanted: object) -> None:
    if there != wanted:
        raise SnapshotError(f"testbed {testbed.name} has other {what} than its snapshot: {there}, not {wanted}")


def save(testbed: Testbed, store: VolumeStore, most_bytes: int = MOST_BYTES) -> None:
    """Save the state of a running testbed as the snapshot of its topology, and remove the oldest snapshots if all
    exceed the limit. Raises EngineError, SnapshotError if its topology cannot have a snapshot, BalanceError.
    """
    if testbed.snapshot is None:
        raise SnapshotError(f"testbed {testbed.name} cannot be saved: it has a disk in memory or an old chain")
    facts = Facts(
        topology=testbed.topology.name,
        node_ids={name: node.node_id for name, node in testbed.nodes.items()},
        channels_msat=balances.count(testbed).channels_msat,
        height_blocks=testbed.chain.height_blocks,
    )
    testbed.engine.save_volumes(testbed.snapshot, facts.model_dump_json())
    prune(store, most_bytes)


def prune(store: VolumeStore, most_bytes: int = MOST_BYTES) -> list[str]:
    """Remove unreadable snapshots, and the oldest ones until the rest is within the limit. Return their names."""
    readable = {snapshot.name for snapshot in all_of(store)}
    kept = store.saved()
    size = sum(each.size_bytes for each in kept)
    removed = []
    for saved in sorted(kept, key=lambda each: (each.name in readable, each.saved_at)):
        if saved.name in readable and size <= most_bytes:
            break
        store.remove(saved.name)
        removed.append(saved.name)
        size -= saved.size_bytes
    return removed


def export_to(name: str, file: Path, store: VolumeStore) -> None:
    """Write a snapshot to a file, atomically. Raises SnapshotError, EngineError."""
    part = file.with_name(file.name + PART)
    try:
        with part.open("wb") as opened:
            store.export(name, opened)
        part.replace(file)
    except OSError as error:
        raise SnapshotError(f"{file} cannot be written: {error.strerror}. Name a file in a folder of yours") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def import_from(file: Path, store: VolumeStore) -> Snapshot:
    """Save the snapshot of a file; never replace an existing one of its name. Raises SnapshotError, EngineError."""
    facts: list[Facts] = []

    def accept(name: str, text: str) -> None:
        if any(each.name == name for each in store.saved()):
            raise SnapshotError(f"the snapshot {name} exists already. Remove it first: `testbed snapshot rm {name}`")
        try:
            facts.append(Facts.model_validate_json(text))
        except ValidationError:
            raise SnapshotError(f"{file} is of another release of the testbed, or damaged. Export it again") from None

    try:
        with file.open("rb") as opened:
            saved = store.load(opened, accept, MOST_BYTES)
    except OSError as error:
        raise SnapshotError(
            f"{file} cannot be read: {error.strerror}. Name a file of `testbed snapshot export`"
        ) from None
    return Snapshot(saved.name, facts[0], saved)
