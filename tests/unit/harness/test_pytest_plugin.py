"""The fixtures for other people's tests: what they see when an image cannot be had."""

import pytest

pytest_plugins = ["pytester"]


def test_unavailable_is_counted_apart_and_never_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from harness import images, testbed as testbed_module
        from harness.images import ImageUnavailableError

        @pytest.fixture(autouse=True, scope="session")
        def no_cln():
            def ensure(kinds, report):
                raise ImageUnavailableError("there is no image for cln")
            images.ensure = ensure

        def test_on_a_testbed(testbed):
            pass

        def test_something_else():
            pass
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*UNAVAILABLE on this machine, not run: 1*", "UNAVAILABLE: there is no image for cln"])
