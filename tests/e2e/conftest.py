"""End-to-end tests: real nodes in containers."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from harness.checks import balances
from harness.checks.balances import Balances
from harness.services.lsp import Lsp
from harness.testbed import Testbed
from harness.topology import Topology, load
from tests.support import grouping
from tests.support.implementations import TOPOLOGIES
from tests.support.scripted_peer import ScriptedPeer

GROUPS = "testbed_groups"
GROUPS_FOLDER = pytest.StashKey[TemporaryDirectory[str]]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass the path of the scheduler's file of test groups to each worker."""
    node.workerinput[GROUPS] = str(_groups_file(node.config))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Under `--dist loadgroup`, tests that share a testbed go to the same worker (tests/support/grouping.py)."""
    return grouping.ByGroup(config, log, _groups_file(config)) if config.getoption("dist") == "loadgroup" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Group the tests, in a worker."""
    if getattr(config.option, "loadgroup", False):
        grouping.write(Path(config.workerinput[GROUPS]), grouping.group(items))  # type: ignore[attr-defined]


def _groups_file(config: pytest.Config) -> Path:
    if GROUPS_FOLDER not in config.stash:
        config.stash[GROUPS_FOLDER] = TemporaryDirectory(prefix="testbed-groups-")
    return Path(config.stash[GROUPS_FOLDER].name) / "groups.json"


@pytest.fixture(scope="session")
def pair_file() -> Path:
    """The smallest topology that can pay: two LNDs and a channel."""
    return TOPOLOGIES / "pair.yaml"


@pytest.fixture(scope="session")
def pair(pair_file: Path) -> Topology:
    """The same, loaded."""
    return load(pair_file)


@pytest.fixture
def before(testbed: Testbed) -> Balances:
    """All balances when the test begins."""
    return balances.count(testbed)


@pytest.fixture
def lsp(testbed: Testbed) -> Lsp:
    """The component of the node LSP."""
    return testbed.lsp("LSP")


@pytest.fixture
def lsp_id(testbed: Testbed) -> bytes:
    """The node id of the LSP, 33 bytes."""
    return bytes.fromhex(testbed["LSP"].node_id)


@pytest.fixture
def a(testbed: Testbed) -> Iterator[ScriptedPeer]:
    """The payer A, scripted by the test."""
    with ScriptedPeer(testbed, "A") as phone:
        phone.forget_failures()
        yield phone


@pytest.fixture
def b(testbed: Testbed) -> Iterator[ScriptedPeer]:
    """The payee B, scripted by the test."""
    with ScriptedPeer(testbed, "B") as phone:
        yield phone


@pytest.fixture(autouse=True)
def money_counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test ends with no HTLC in flight and the full capacity of every channel at its two ends.

    The testbed is requested first: pytest ends fixtures in reverse order, and a testbed of a single test would be
    removed already.
    """
    testbed = request.getfixturevalue("testbed") if "testbed" in request.fixturenames else None
    yield
    if isinstance(testbed, Testbed):
        balances.count(testbed)
