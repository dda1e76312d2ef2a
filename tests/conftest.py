"""For all tests."""

from hypothesis import settings

# How long an example takes says more about the machine than about the code: timings are for tests/bench.
settings.register_profile("anywhere", deadline=None)
settings.load_profile("anywhere")
