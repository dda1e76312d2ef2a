"""The fixtures for other people's tests: what they see when an image cannot be had."""

import json

import pytest

from harness.checks.scenario_table import Scenario

pytest_plugins = ["pytester"]


def test_unavailable_is_counted_apart_and_never_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from harness.images import store
        from harness.errors import ImageUnavailableError

        @pytest.fixture(autouse=True, scope="session")
        def no_cln():
            def ensure(kinds, report):
                raise ImageUnavailableError("there is no image for cln")
            store.ensure = ensure

        def test_on_a_testbed(testbed):
            pass

        def test_something_else():
            pass
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*UNAVAILABLE on this machine, not run: 1*", "UNAVAILABLE: there is no image for cln"])


def test_what_an_implementation_declares_that_it_cannot_is_counted_apart(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from types import SimpleNamespace
        from asyncpay.lightning import Capability
        from harness.pytest_plugin import require

        LDK = SimpleNamespace(implementation="ldk")

        def test_claim():
            require(LDK, Capability(False, "it cannot claim what it intercepts"))

        def test_forward():
            require(LDK, Capability(True, "it forwards"))
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "*UNAVAILABLE by declaration, not run: 1*",
            "UNAVAILABLE by declaration: ldk: it cannot claim what it intercepts",
        ]
    )
    result.stdout.no_fnmatch_line("*UNAVAILABLE on this machine*")


@pytest.mark.parametrize("returned", ['"tiny"', 'Path("mine/tiny.yaml")', '"mine/tiny.yaml"', 'load("mine/tiny.yaml")'])
def test_a_topology_may_be_named(pytester: pytest.Pytester, returned: str) -> None:
    pytester.mkdir("mine").joinpath("tiny.yaml").write_text("nodes: {A: {role: router}}\n")
    pytester.makepyfile(
        f"""
        from pathlib import Path
        import pytest
        from harness.images import store
        from harness.errors import ImageUnavailableError
        from harness.topology import loading
        from harness.topology import load

        loading.SHIPPED = Path("mine")

        @pytest.fixture(scope="session")
        def testbed_topology():
            def ensure(kinds, report):
                raise ImageUnavailableError(f"asked for {{','.join(kinds)}}")
            store.ensure = ensure
            return {returned}

        def test_on_a_testbed(testbed):
            pass
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["UNAVAILABLE: asked for bitcoind,lnd"])


def test_scenarios_are_written_as_they_ended(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def broken():
            yield
            raise AssertionError("an HTLC is left")

        def family(record_property):
            record_property("family", "MPP")

        def test_paid(record_property):
            family(record_property)
            for fault in ("cut", "cut", "block"):
                record_property("fault", fault)
            record_property("outcome", "paid once")

        def test_ends_badly(record_property, broken):
            family(record_property)
            record_property("outcome", "paid once")

        def test_impossible(record_property):
            family(record_property)
            pytest.skip("not here")

        def test_of_something_else():
            pass
        """
    )
    file = pytester.path / "artifacts" / "scenarios.json"
    pytester.runpytest_subprocess(f"--testbed-scenarios={file}").assert_outcomes(passed=3, skipped=1, errors=1)

    written = [Scenario(**each) for each in json.loads(file.read_text())["scenarios"]]
    ends = {each.name: (each.family, each.faults, each.outcomes) for each in written}
    assert ends == {
        "ends_badly": ("MPP", {}, ["FAILED"]),
        "impossible": ("MPP", {}, ["not run"]),
        "paid": ("MPP", {"cut": 2, "block": 1}, ["paid once"]),
    }
