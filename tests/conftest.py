"""For all tests."""

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.support")  # its asserts explain themselves as a test's do

# How long an example takes says more about the machine than about the code: timings are for tests/bench.
settings.register_profile("anywhere", deadline=None)
settings.load_profile("anywhere")
