"""When a testbed is restored, when it is brought up anew, and which snapshots stay; on an engine that runs nothing."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

import pytest
from typer.testing import CliRunner

from harness import bringup, compose, engines, snapshots
from harness.checks import balances
from harness.cli.main import app
from harness.engines.base import EngineError, SavedVolumes, VolumeStore
from harness.errors import NodeError
from harness.progress import Phases
from harness.snapshots import Snapshot, SnapshotError
from harness.testbed import Testbed
from harness.topology import Topology, load
from harness.waits import WaitTimeoutError

FACTS = {"topology": "line", "node_ids": {"A": "02aa"}, "channels_msat": {"A": 1}, "height_blocks": 108}
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class PlayedStore(VolumeStore):
    kept: list[SavedVolumes] = field(default_factory=list)

    def saved(self) -> list[SavedVolumes]:
        return sorted(self.kept, key=lambda each: each.saved_at)

    def remove(self, name: str) -> None:
        self.kept = [each for each in self.kept if each.name != name]

    def export(self, name: str, file: BinaryIO) -> None:
        file.write(b"half of it")
        if name == "broken":
            raise EngineError("the disk is full")

    def load(self, file: BinaryIO, accept: Callable[[str, str], None], most_bytes: int) -> SavedVolumes:
        facts = file.read().decode()
        accept("imported", facts)
        self.kept.append(kept("imported", facts=facts))
        return self.kept[-1]


def kept(name: str, *, facts: Any = FACTS, size_bytes: int = 10, day: int = 0) -> SavedVolumes:
    text = facts if isinstance(facts, str) else json.dumps(facts)
    return SavedVolumes(name, text, size_bytes, EPOCH + timedelta(days=day))


@dataclass
class PlayedTestbed:
    """`done` is what was done to it, in order."""

    snapshot: str | None = "of-line"
    name: str = "x"
    done: list[str] = field(default_factory=list)
    save_error: Exception | None = None

    @property
    def topology(self) -> Topology:
        return load("line")

    @property
    def nodes(self) -> dict[str, Any]:
        return {"A": SimpleNamespace(node_id="02aa")}

    @property
    def chain(self) -> Any:
        return SimpleNamespace(height_blocks=108)

    @property
    def engine(self) -> Any:
        return SimpleNamespace(save_volumes=self._save)

    def _save(self, name: str, facts: str) -> None:
        if self.save_error:
            raise self.save_error
        self.done.append(f"saved {name}: {json.loads(facts)['channels_msat']}")

    def clear(self) -> None:
        self.done.append("cleared")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> PlayedStore:
    played = PlayedStore()
    monkeypatch.setattr(snapshots, "open_volume_store", lambda: played)
    monkeypatch.setattr(engines, "open_volume_store", lambda: played)
    return played


@pytest.fixture(autouse=True)
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bringup, "up", lambda testbed, _: testbed.done.append("brought up"))
    monkeypatch.setattr(
        snapshots, "restore", lambda testbed, snapshot, _: testbed.done.append(f"restored {snapshot.name}")
    )
    monkeypatch.setattr(balances, "count", lambda _: balances.Balances({"A": 1}))


def up(testbed: PlayedTestbed, *, fresh: bool = False) -> list[str]:
    said: list[str] = []
    snapshots.up(cast(Testbed, testbed), Phases(), said.append, fresh=fresh)
    return said


def test_the_first_of_a_topology_leaves_a_snapshot(store: PlayedStore) -> None:
    testbed = PlayedTestbed()
    assert up(testbed) == []
    assert testbed.done == ["brought up", "saved of-line: {'A': 1}"]


def test_of_two_at_the_same_time_the_later_one_saves_none(store: PlayedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker would remove the other's image, from which a third may just be restored."""
    testbed = PlayedTestbed()
    monkeypatch.setattr(bringup, "up", lambda *_: store.kept.append(kept("of-line")))
    assert up(testbed) == []
    assert testbed.done == []


def test_the_next_begins_with_it(store: PlayedStore) -> None:
    store.kept = [kept("of-another"), kept("of-line")]
    testbed = PlayedTestbed()
    up(testbed)
    assert testbed.done == ["restored of-line"]


def test_on_demand_none_is_used_or_saved(store: PlayedStore) -> None:
    store.kept = [kept("of-line")]
    testbed = PlayedTestbed()
    up(testbed, fresh=True)
    assert testbed.done == ["brought up"]


def test_a_topology_whose_state_cannot_be_kept_has_none(store: PlayedStore) -> None:
    testbed = PlayedTestbed(snapshot=None)
    up(testbed)
    assert testbed.done == ["brought up"]
    with pytest.raises(SnapshotError, match="a disk in memory"):
        snapshots.save(cast(Testbed, testbed), store)


@pytest.mark.parametrize(
    "error",
    [
        EngineError("snapshot of-line is damaged"),
        NodeError("A does not answer"),
        SnapshotError("other node ids"),
        WaitTimeoutError("nodes_ready", 90, "A is away"),
        balances.BalanceError("the channels hold less"),
    ],
)
def test_one_that_does_not_restore_is_removed_and_made_anew(
    error: Exception, store: PlayedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(snapshots, "restore", fail)
    store.kept = [kept("of-line"), kept("of-another")]
    testbed = PlayedTestbed()

    (said,) = up(testbed)

    assert str(error) in said
    assert [each.name for each in store.kept] == ["of-another"]
    assert testbed.done == ["cleared", "brought up", "saved of-line: {'A': 1}"]


def test_a_snapshot_that_cannot_be_saved_does_not_end_up(store: PlayedStore) -> None:
    (said,) = up(PlayedTestbed(save_error=EngineError("no space left on device")))
    assert said == "no snapshot was saved: no space left on device"


HOSTILE = [
    "",
    "no JSON",
    "[]",
    "{}",
    {**FACTS, "more": 1},
    {**FACTS, "node_ids": ["A"]},
    {**FACTS, "height_blocks": "1"},
]


@pytest.mark.parametrize("facts", HOSTILE)
def test_one_whose_facts_cannot_be_read_is_none(facts: Any, store: PlayedStore) -> None:
    store.kept = [kept("of-line", facts=facts)]
    testbed = PlayedTestbed()
    up(testbed)
    assert testbed.done[0] == "brought up"


def test_the_oldest_are_removed_until_there_is_room() -> None:
    store = PlayedStore([kept(str(day), size_bytes=40, day=day) for day in (3, 1, 2)])
    assert snapshots.prune(store, most_bytes=80) == ["1"]
    assert snapshots.prune(store, most_bytes=80) == []
    assert snapshots.prune(store, most_bytes=0) == ["2", "3"]


def test_what_cannot_be_read_is_removed_whatever_room_there_is() -> None:
    store = PlayedStore([kept("good", day=1), kept("bad", facts="?", day=2)])
    assert snapshots.prune(store, most_bytes=80) == ["bad"]


def test_saving_one_makes_room(store: PlayedStore) -> None:
    store.kept = [kept("old", size_bytes=60, day=1), kept("of-line", size_bytes=60, day=2)]
    snapshots.save(cast(Testbed, PlayedTestbed()), store, most_bytes=100)
    assert [each.name for each in store.kept] == ["of-line"]


def test_a_restored_testbed_is_held_against_its_facts() -> None:
    snapshot = Snapshot("of-line", snapshots.Facts.model_validate(FACTS), kept("of-line"))
    with pytest.raises(SnapshotError, match="other node ids than its snapshot"):
        snapshots._check(cast(Testbed, PlayedTestbed()), "node ids", {"A": "02bb"}, snapshot.facts.node_ids)


def test_a_reset_begins_from_nothing(store: PlayedStore) -> None:
    store.kept = [kept("of-line")]
    testbed, phases = PlayedTestbed(), Phases()
    snapshots.reset(cast(Testbed, testbed), phases)
    assert testbed.done == ["cleared", "restored of-line"]
    assert list(phases.seconds) == ["removed"]


def test_a_file_is_written_as_a_whole_or_not_at_all(store: PlayedStore, tmp_path: Path) -> None:
    snapshots.export_to("of-line", tmp_path / "good", store)
    with pytest.raises(EngineError, match="the disk is full"):
        snapshots.export_to("broken", tmp_path / "bad", store)
    assert [file.name for file in tmp_path.iterdir()] == ["good"]
    with pytest.raises(SnapshotError, match="cannot be written"):
        snapshots.export_to("of-line", tmp_path / "no folder" / "file", store)


def test_a_file_does_not_take_the_place_of_what_is_kept(store: PlayedStore, tmp_path: Path) -> None:
    """The file says its name itself, and may be a stranger's."""
    store.kept = [kept("imported", day=1)]
    for facts in (json.dumps(FACTS), '{"of": "another release"}'):
        (tmp_path / "file").write_text(facts)
        with pytest.raises(SnapshotError, match="imported exists already"):
            snapshots.import_from(tmp_path / "file", store)
    assert store.kept == [kept("imported", day=1)]


def test_a_file_whose_facts_cannot_be_read_leaves_nothing(store: PlayedStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"of": "another release"}')
    with pytest.raises(SnapshotError, match="another release"):
        snapshots.import_from(tmp_path / "file", store)
    assert store.kept == []
    (tmp_path / "file").write_text(json.dumps(FACTS))
    assert snapshots.import_from(tmp_path / "file", store).facts.height_blocks == 108
    with pytest.raises(SnapshotError, match="cannot be read"):
        snapshots.import_from(tmp_path / "none", store)


def test_the_command_line(store: PlayedStore) -> None:
    store.kept = [
        kept("aa", day=1),
        kept("bb", facts={**FACTS, "topology": "evil\x1b[31m"}, day=2),
        kept("cc", facts="?"),
    ]
    runner = CliRunner()
    assert [each["name"] for each in json.loads(runner.invoke(app, ["snapshot", "list", "--json"]).stdout)] == [
        "aa",
        "bb",
    ]
    shown = runner.invoke(app, ["snapshot", "list"]).stdout
    assert "108" in shown
    assert "\x1b" not in shown
    unknown = runner.invoke(app, ["snapshot", "rm", "aa", "dd"])
    assert (unknown.exit_code, len(store.kept)) == (2, 3)
    assert "there is no snapshot dd" in unknown.stderr
    assert "removed snapshot aa" in runner.invoke(app, ["snapshot", "rm", "aa"]).stdout
    assert "removed snapshot cc" in runner.invoke(app, ["snapshot", "prune"]).stdout
    assert [each.name for each in store.kept] == ["bb"]
    runner.invoke(app, ["snapshot", "prune", "--most-mb", "0"])
    assert store.kept == []


IMAGES = ["bitcoind", "A", "LSP_a", "router", "LSP_b", "B", "LSP_a-lsp", "LSP_b-lsp", "push", "toxiproxy"]


def name_of(topology: Topology, **identities: str) -> str | None:
    references = {service: f"image of {service}" for service in IMAGES}
    return compose.snapshot_name(topology, references, {"image of A": "sha256:1", **identities})


def test_a_snapshots_name_tells_all_that_decides_the_state() -> None:
    line = load("line")
    (first, *others) = line.channels
    pushed = line.model_copy(update={"channels": (first.model_copy(update={"push_sat": 1}), *others)})
    router = line.nodes["router"].model_copy(update={"args": ("--color=#ff0000",)})
    names = [
        name_of(line),
        name_of(line, **{"image of A": "sha256:2"}),
        name_of(pushed),
        name_of(line.model_copy(update={"nodes": line.nodes | {"router": router}})),
        name_of(load("line", {"LSP_a.component": {"policy": {"max_blocks": 7}}})),  # type: ignore[dict-item]
    ]
    assert None not in names
    assert len(set(names)) == len(names)
    assert name_of(line.model_copy(update={"name": "another"})) == names[0]


def test_what_is_lost_with_its_container_cannot_be_kept() -> None:
    assert name_of(load("line", {"LSP_a.component": {"disk_mb": 8}})) is None  # type: ignore[dict-item]
    line = load("line")
    stale = line.model_copy(update={"chain": line.chain.model_copy(update={"keep_fresh": False})})
    assert name_of(stale) is None
