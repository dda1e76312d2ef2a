"""The whole payment for every combination of LND and Core Lightning as A, LSP_a, LSP_b and B, whose phones never meet
online: the test that `testbed matrix` runs for the implementations that its user chooses.
"""

import pytest

from harness.scenarios.interop import test_async_payment, testbed
from harness.scenarios.matrix import combinations, name_of

__all__ = ["test_async_payment", "testbed"]

pytestmark = [pytest.mark.full, pytest.mark.seconds(60)]


@pytest.fixture(params=combinations(("lnd", "cln")), ids=name_of)
def combination(request: pytest.FixtureRequest) -> dict[str, str]:
    """The implementation of each node, by its name."""
    return dict(request.param)
