"""The whole payment for every combination of LND with Core Lightning, and of LND with LDK, as A, LSP_a, LSP_b and B,
whose phones never meet online: the test that `testbed matrix` runs for the implementations that its user chooses.
"""

import pytest

from harness.scenarios.interop import test_async_payment, testbed
from harness.scenarios.matrix import combinations, name_of

__all__ = ["test_async_payment", "testbed"]

CELLS = {name_of(each): each for other in ("cln", "ldk") for each in combinations(("lnd", other))}

pytestmark = [pytest.mark.full, pytest.mark.seconds(60)]


@pytest.fixture(params=CELLS)
def combination(request: pytest.FixtureRequest) -> dict[str, str]:
    """The implementation of each node, by its name."""
    return dict(CELLS[request.param])
