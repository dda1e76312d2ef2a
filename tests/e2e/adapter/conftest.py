"""A ==== LSP ---- B, all of one implementation; the LSP forwards nothing while no test is attached to it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from harness.testbed import Testbed
from tests.support.implementations import IMPLEMENTATIONS

from .helpers import hop


@pytest.fixture(scope="package", params=IMPLEMENTATIONS)
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    with hop(request.param, request.config) as running:
        yield running


@pytest.fixture(autouse=True)
def all_nodes_running(testbed: Testbed) -> None:
    """Every node runs and has no history of failed payments, also if the previous test failed."""
    running = [node.name for node in testbed.running()]
    for name in testbed.nodes.keys() - running:
        testbed.start_and_wait(name)
    for payer in ("A", "LSP"):
        testbed[payer].forget_failures()


@pytest.fixture(scope="package")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="package", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Run all tests in one event loop: a late callback of gRPC for a finished call would find the loop of an earlier
    test closed, and would count as a failure of the next test.
    """
    yield  # noqa: PT022 - the loop lives until this fixture ends
