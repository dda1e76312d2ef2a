"""A testbed restored from a snapshot has the state of the first one after `up`, and is independent of it."""

import io
import os
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import snapshots
from harness.checks import balances
from harness.cli.main import app
from harness.engines import open_volume_store
from harness.engines.docker_client import client
from harness.engines.docker_volumes import REPOSITORY
from harness.errors import ImageUnavailableError
from harness.progress import Phases
from harness.pytest_plugin import UNAVAILABLE
from harness.testbed import Testbed
from harness.topology import Topology, load
from tests.support.implementations import TOPOLOGIES, all_on, with_arguments
from tests.support.payment_harness import PaymentHarness

UNIQUE: dict[str, Callable[[], list[str]]] = {
    "lnd": lambda: [f"--color=#{os.urandom(3).hex()}"],
    "cln": lambda: [f"--rgb={os.urandom(3).hex()}"],
    "ldk": lambda: ["--alias", os.urandom(3).hex()],
}
"""Arguments that make the topology unique, so that no earlier run has left a snapshot of it."""
Up = Callable[[], tuple[Testbed, list[str], list[str]]]
"""Bring up a new testbed of one topology; return it with the phases of its `up`, and the reported lines."""


@contextmanager
def ups_of(topology: Topology) -> Iterator[Up]:
    """Yield a function that brings up testbeds; remove all of them at the end, and their snapshot."""
    with ExitStack() as stack:

        def up() -> tuple[Testbed, list[str], list[str]]:
            try:
                testbed = Testbed.prepare(topology, f"snapshots-{uuid.uuid4().hex[:8]}")
            except ImageUnavailableError as error:
                pytest.skip(UNAVAILABLE + str(error))
            stack.callback(lambda: testbed.down() if testbed.folder.exists() else None)
            if testbed.snapshot:
                stack.callback(open_volume_store().remove, testbed.snapshot)
            phases, said = Phases(), list[str]()
            snapshots.up(testbed, phases, said.append)
            return testbed, list(phases.seconds), said

        yield up


@pytest.fixture
def up(pair: Topology) -> Iterator[Up]:
    """Bring up testbeds of a topology without snapshots of other tests or earlier runs."""
    with ups_of(with_arguments(pair, "A", *UNIQUE["lnd"]())) as ups:
        yield ups


def money(testbed: Testbed) -> dict[str, tuple[int, int]]:
    """Return each node's balance on chain, in sat, and in its channels, in msat."""
    channels_msat = balances.count(testbed).channels_msat
    return {name: (node.onchain_sat(), channels_msat[name]) for name, node in testbed.nodes.items()}


@pytest.mark.seconds(30)
def test_two_testbeds_side_by_side_from_one_snapshot(up: Up) -> None:
    first, phases, _ = up()
    assert phases[-1] == "snapshot saved"
    ids, before = {name: node.node_id for name, node in first.nodes.items()}, money(first)
    first.pay("A", "B", 1_000_000)  # after the snapshot, so no other testbed has this payment

    second, phases, said = up()

    assert (phases[0], said) == ("volumes filled", [])
    assert {name: node.info().node_id for name, node in second.nodes.items()} == ids
    assert money(second) == before
    second.pay("A", "B", 2_000_000)
    second.stop("B")
    second.start_and_wait("B")
    second.pay("B", "A", 500_000)
    assert balances.count(first).channels_msat == {"A": 499_000_000, "B": 501_000_000}
    assert balances.count(second).channels_msat == {"A": 498_500_000, "B": 501_500_000}
    again = Phases()
    snapshots.reset(second, again)
    assert list(again.seconds)[:2] == ["removed", "volumes filled"]
    assert {name: node.info().node_id for name, node in second.nodes.items()} == ids
    assert money(second) == before
    bystander = client().networks.create(f"bystander-{os.getpid()}")
    try:
        second.down()
        assert second.engine.leftovers() == []
        bystander.reload()  # NotFound if the removal of a testbed had removed it
    finally:
        bystander.remove()
    first.pay("B", "A", 1_000_000)
    assert balances.count(first).channels_msat == {"A": 500_000_000, "B": 500_000_000}


MIXED = {"A": "lnd", "LSP": "cln", "B": "ldk"}


@pytest.mark.full
@pytest.mark.seconds(90)
@pytest.mark.parametrize("nodes", ["lnd", "cln", "ldk", "mixed"])
def test_phones_of_a_restored_testbed_pay_each_other(nodes: str) -> None:
    topology = load(TOPOLOGIES / "lasting.yaml", MIXED) if nodes == "mixed" else all_on(nodes, "lasting.yaml")
    with ups_of(with_arguments(topology, "LSP", *UNIQUE[topology.nodes["LSP"].implementation]())) as up:
        first, _, _ = up()
        ids, before = {name: node.node_id for name, node in first.nodes.items()}, money(first)
        first.down()

        second, phases, said = up()

        assert (phases[0], said) == ("volumes filled", [])
        assert {name: node.info().node_id for name, node in second.nodes.items()} == ids
        assert money(second) == before
        payments = PaymentHarness(second, balances.count(second))
        case = payments.new_case()
        payments.b.sleep()  # so that the webhook of the snapshot's wallet has to wake it
        case.hand_over()
        case.wait_until_paid()
        payments.assert_paid(case)


@pytest.mark.full
@pytest.mark.seconds(40)
def test_a_snapshot_travels_as_a_file(up: Up, tmp_path: Path) -> None:
    first, _, _ = up()
    ids, before, file = {name: node.node_id for name, node in first.nodes.items()}, money(first), tmp_path / "file"
    name = first.snapshot
    assert name is not None
    first.down()
    for arguments in (["export", name, str(file)], ["rm", name], ["import", str(file)]):
        done = CliRunner().invoke(app, ["snapshot", *arguments])
        assert done.exit_code == 0, done.output

    second, phases, said = up()

    assert (phases[0], said) == ("volumes filled", [])
    assert {name: node.info().node_id for name, node in second.nodes.items()} == ids
    assert money(second) == before


@pytest.mark.full
@pytest.mark.seconds(60)
@pytest.mark.parametrize("damage", ["its files are gone", "it is of another state"])
def test_a_damaged_snapshot_is_noticed_and_made_anew(up: Up, damage: str) -> None:
    first, _, _ = up()
    assert first.snapshot is not None
    if damage == "its files are gone":
        empty(first.snapshot, ["bitcoind", "A", "B"])
    else:
        first.pay("A", "B", 1_000_000)
        snapshot = snapshots.found(first.snapshot, open_volume_store())
        assert snapshot is not None
        first.engine.save_volumes(first.snapshot, snapshot.volumes.facts)

    second, phases, said = up()

    assert "cannot be used and is removed" in said[0]
    assert phases[-1] == "snapshot saved"
    assert money(second)["A"][1] == 500_000_000
    third, phases, said = up()
    assert (phases[0], said) == ("volumes filled", [])
    assert money(third) == money(second)


def empty(snapshot: str, volumes: list[str]) -> None:
    """Replace this snapshot by one with the same labels and folders, and no files."""
    engine = client()
    labels = engine.images.get(f"{REPOSITORY}:{snapshot}").labels
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for volume in volumes:
            folder = tarfile.TarInfo(f"volumes/{volume}")
            folder.type = tarfile.DIRTYPE
            folder.mode = 0o755
            archive.addfile(folder)
    changes = [f'LABEL {name}="{value}"' for name, value in labels.items()]
    engine.api.import_image_from_data(packed.getvalue(), repository=REPOSITORY, tag=snapshot, changes=changes)
