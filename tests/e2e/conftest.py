"""End-to-end tests: real nodes in containers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from harness.checks import balances
from harness.checks.balances import Balances
from harness.services.lsp import Lsp
from harness.testbed import Testbed
from harness.topology import Topology, load
from tests.support.implementations import TOPOLOGIES
from tests.support.scripted_peer import ScriptedPeer


class ByTestbed(LoadScopeScheduling):
    """Tests that share a testbed stay with one worker: a file's, or, of a file with a great table, the cells whose
    names are the same up to a `/`, which have a testbed for themselves.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        row, slash, _ = test.partition("/")
        return f"{file} {row}" if slash else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Ours in the place of `--dist loadgroup`; the selection of `make test` has few cells, and needs no more than
    `--dist loadfile`.
    """
    return ByTestbed(config, log) if config.getoption("dist") == "loadgroup" else None


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
    """What everybody has when the test begins."""
    return balances.count(testbed)


@pytest.fixture
def lsp(testbed: Testbed) -> Lsp:
    """The component of the node LSP."""
    return testbed.lsp("LSP")


@pytest.fixture
def lsp_id(testbed: Testbed) -> bytes:
    """Its node id, 33 bytes."""
    return bytes.fromhex(testbed["LSP"].node_id)


@pytest.fixture
def a(testbed: Testbed) -> Iterator[ScriptedPeer]:
    """The payer A, played by the test."""
    with ScriptedPeer(testbed, "A") as phone:
        phone.forget_failures()
        yield phone


@pytest.fixture
def b(testbed: Testbed) -> Iterator[ScriptedPeer]:
    """The payee B, played by the test."""
    with ScriptedPeer(testbed, "B") as phone:
        yield phone


@pytest.fixture(autouse=True)
def money_counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test ends with no HTLC in flight and the whole of every channel at its two ends."""
    yield
    testbed = request.node.funcargs.get("testbed")
    if isinstance(testbed, Testbed):
        balances.count(testbed)
