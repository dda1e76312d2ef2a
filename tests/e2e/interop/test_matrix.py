"""The async payment for every combination of LND with Core Lightning, and of LND with LDK, as A, LSP_a, LSP_b and B,
whose phones are never online at the same time: the test that `testbed matrix` runs for selected implementations.
"""

import pytest

from harness.scenarios.interop import test_async_payment, testbed
from harness.scenarios.matrix import combinations, name_of

__all__ = ["test_async_payment", "testbed"]

SELECTED = ("lnd-ldk-lnd-ldk", "ldk-lnd-ldk-lnd", "lnd-ldk-ldk-lnd", "ldk-ldk-ldk-ldk")
"""Cells of `make test`: LDK and LND in every role, with neighbours of the same and of the other implementation."""
CELLS = {name_of(each): each for other in ("cln", "ldk") for each in combinations(("lnd", other))}

pytestmark = pytest.mark.seconds(60)


@pytest.fixture(params=[pytest.param(name, marks=() if name in SELECTED else pytest.mark.full) for name in CELLS])
def combination(request: pytest.FixtureRequest) -> dict[str, str]:
    """The implementation of each node, by its name."""
    return dict(CELLS[request.param])
