"""Pytest fixtures: a running testbed for your tests. Loaded automatically if the testbed is installed.

    def test_payment(testbed):
        testbed.pay("A", "B", 1_000_000)

`testbed` runs `line.yaml`; override the fixture `testbed_topology` for another one: it returns the name of a shipped
topology, the path of a file, or the result of `harness.topology.load`:

    @pytest.fixture(scope="session")
    def testbed_topology():
        return "line-mixed"

The scope of both is the session. For more than one testbed, or another scope, use `running_testbed`.
"""

import fcntl
import os
import re
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import ImageUnavailableError

if TYPE_CHECKING:
    from asyncpay.lightning import Capability
    from harness.checks.scenario_table import Scenario
    from harness.nodes.base import Node
    from harness.testbed import Testbed
    from harness.topology import Topology

# Every run of pytest loads this file if the testbed is installed: other modules are imported with the first testbed.

UNAVAILABLE = "UNAVAILABLE: "
"""Prefix of the reason of a skip because an image is missing on this machine."""
DECLARED = "UNAVAILABLE by declaration: "
"""Prefix of the reason of a skip because an implementation declares that it lacks the tested capability."""
WORKER = "PYTEST_XDIST_WORKER"
_numbers = count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the testbed's options."""
    group = parser.getgroup("lightning-testbed")
    group.addoption(
        "--testbed-artifacts",
        default="artifacts",
        metavar="DIR",
        help="where a failing test leaves compose files, logs and states (default: artifacts)",
    )
    group.addoption(
        "--testbed-snapshots",
        action="store_true",
        help="restore testbeds from snapshots of their topologies, and save those that are missing",
    )
    group.addoption(
        "--testbed-scenarios",
        type=Path,
        metavar="FILE",
        help="write the outcomes of the scenarios to this file, as JSON (see harness.checks.scenario_table)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect scenarios in the process that receives the reports of all workers."""
    file = config.getoption("--testbed-scenarios")
    if file is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Scenarios(file))


@pytest.fixture(scope="session")
def testbed_topology() -> "Topology | Path | str":
    """The topology of the fixture `testbed`, or its name or path; override it in your tests."""
    return "line"


@pytest.fixture(scope="session")
def testbed(testbed_topology: "Topology | Path | str", pytestconfig: pytest.Config) -> "Iterator[Testbed]":
    """A running testbed: funded, channels open, graph complete."""
    with running_testbed(testbed_topology, pytestconfig) as running:
        yield running


@contextmanager
def running_testbed(
    topology: "Topology | Path | str", config: pytest.Config, supervised: bool = False
) -> "Iterator[Testbed]":
    """Run a separate testbed, with a unique name, for the duration of a `with` block.

    With --testbed-snapshots it is restored from the snapshot of its topology, which the first one saves.

    topology: its name, its path, or the result of `harness.topology.load`.
    supervised: services that exit are restarted.

    Raises TopologyError for a file that cannot be used, TestbedError if it cannot be brought up.
    Skips the test, as UNAVAILABLE, if an image that the topology needs is not available on this machine.
    """
    from harness import snapshots
    from harness.checks import artifacts
    from harness.progress import Phases
    from harness.testbed import Testbed, remove_project
    from harness.topology import Topology, load

    worker = os.environ.get(WORKER, "main")
    if not isinstance(topology, Topology):
        topology = load(topology)
    try:
        testbed = Testbed.prepare(topology, f"test-{os.getpid()}-{worker}-{next(_numbers)}", print, supervised)
    except ImageUnavailableError as error:
        pytest.skip(UNAVAILABLE + str(error))
    try:
        with _bring_up_slot():
            phases = Phases(lambda phase: print(f"{testbed.name}: {phase}"))
            try:
                snapshots.up(testbed, phases, print, fresh=not config.getoption("--testbed-snapshots"))
            except BaseException:
                if testbed.engine.states():
                    artifacts.collect(testbed, _artifacts(config) / testbed.name)
                raise
        yield testbed
    finally:
        remove_project(testbed.engine)
        testbed.forget()


def require(node: "Node | type[Node]", capability: "Capability") -> None:
    """Skip the test, as UNAVAILABLE by declaration, unless the node's implementation declares this capability.

    node: the node, or its class where no testbed is brought up for a test that cannot run.
    capability: one of `node.capabilities`.
    """
    if not capability:
        pytest.skip(f"{DECLARED}{node.implementation}: {capability.because}")


@contextmanager
def _bring_up_slot() -> Iterator[None]:
    """Limit concurrent bring-ups to the number of cores: a bring-up uses much CPU time, a running testbed little, and
    pytest-xdist may have more workers than cores.
    """
    worker = int(re.sub(r"\D", "", os.environ.get(WORKER, "")) or 0)
    slot = worker % (os.cpu_count() or 1)
    with (Path(tempfile.gettempdir()) / f"testbed-bringup-{os.getuid()}-{slot}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    """Collect the artifacts of a failed test while its testbeds still run."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.failed and "harness.testbed" in sys.modules:
        from harness.checks import artifacts
        from harness.testbed import Testbed

        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Testbed) and value.folder.exists():
                folder = artifacts_folder(item, value.name)
                artifacts.collect(value, folder)
                report.sections.append(("testbed", f"artifacts: {shlex.quote(str(folder))}"))
    return report  # type: ignore[return-value]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List the tests that could not run, on this machine or on an implementation, separately from all other skips."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    for prefix, title in ((UNAVAILABLE, "UNAVAILABLE on this machine"), (DECLARED, "UNAVAILABLE by declaration")):
        unavailable = [reason.removeprefix("Skipped: ") for reason in reasons if prefix in reason]
        if unavailable:
            terminalreporter.section(f"{title}, not run: {len(unavailable)}", yellow=True)
            for reason in sorted(set(unavailable)):
                terminalreporter.line(reason)


class _Scenarios:
    """Makes a Scenario from the reports of each test that has a family."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._reports: dict[str, list[pytest.TestReport]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._reports.setdefault(report.nodeid, []).append(report)

    def pytest_sessionfinish(self) -> None:
        from harness.checks import scenario_table

        scenario_table.write(self._file, (found for reports in self._reports.values() for found in _scenario(reports)))


def _scenario(reports: list[pytest.TestReport]) -> "Iterator[Scenario]":
    """Yield one scenario, or none if the test is not a scenario."""
    from harness.checks import scenario_table

    *_, last = reports  # the teardown's has all properties
    said = [(name, str(value)) for name, value in last.user_properties]
    families = [value for name, value in said if name == scenario_table.FAMILY]
    if not families:
        return
    outcomes = sorted({value for name, value in said if name == scenario_table.OUTCOME})
    if any(report.failed for report in reports):
        outcomes = [scenario_table.FAILED]
    elif any(report.skipped for report in reports):
        outcomes = [scenario_table.NOT_RUN]
    yield scenario_table.Scenario(
        family=families[0],
        name=last.nodeid.rpartition("::")[2].removeprefix("test_"),
        faults=dict(Counter(value for name, value in said if name == scenario_table.FAULT)),
        outcomes=outcomes,
        seconds=round(sum(report.duration for report in reports if report.when == "call"), 1),
    )


def artifacts_folder(item: pytest.Item, testbed: str) -> Path:
    """Return the folder of a test's artifacts from the testbed with this name."""
    return _artifacts(item.config) / re.sub(r"[^\w.-]+", "_", item.nodeid) / testbed


def _artifacts(config: pytest.Config) -> Path:
    return Path(config.getoption("--testbed-artifacts")).resolve()
