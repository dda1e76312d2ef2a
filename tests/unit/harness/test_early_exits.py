"""What has ended is told at once, and nothing else ends a wait early."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from harness.containers import ContainerError, Containers
from harness.early_exits import EndedError, bitcoind_watched, unless_ended
from harness.errors import NodeError
from harness.testbed import Testbed
from harness.waits import Predicate, WaitTimeoutError, wait_for


@dataclass
class Container:
    status: str = "running"
    attrs: dict[str, Any] = field(default_factory=lambda: {"State": {"ExitCode": 1}})


@dataclass
class Project:
    """A testbed and its containers."""

    found: dict[str, Container]
    phones: dict[str, Any] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)

    @property
    def containers(self) -> "Project":
        return self

    def container(self, service: str) -> Container:
        return self.found[service]

    def states(self) -> dict[str, str]:
        return {name: container.status for name, container in self.found.items()}

    def last_lines(self, service: str) -> str:
        return f"  {service}: unknown flag `bogus'"

    def kill(self, service: str) -> None:
        self.killed.append(service)
        self.found[service].status = "exited"


def unready() -> str | None:
    raise NodeError("A has no file tls.cert (yet)")


def wait(project: Project) -> None:
    wait_for(unless_ended(cast(Testbed, project), "A", Predicate("ready", unready)), timeout_seconds=0.05)


def test_a_container_that_has_exited_is_not_waited_for() -> None:
    with pytest.raises(EndedError, match=r"A has ended \(exit code 1\)(.|\n)*unknown flag `bogus'"):
        wait(Project({"A": Container("exited")}))


def test_one_that_runs_is() -> None:
    with pytest.raises(WaitTimeoutError, match=r"ready not reached in .*; last seen: A has no file tls\.cert"):
        wait(Project({"A": Container("running")}))


def test_bitcoind_s_end_ends_the_start() -> None:
    """Compose waits for the miner, and the miner for bitcoind."""
    project = Project({"bitcoind": Container("exited"), "miner": Container("running")})

    def compose_up() -> None:
        wait_for(Predicate("miner_ended", lambda: None if project.killed else "the miner waits for bitcoind"), 10, 0.02)
        raise ContainerError('service "miner" didn\'t complete successfully')

    with pytest.raises(EndedError, match="bitcoind has ended"), bitcoind_watched(cast(Containers, project)):
        compose_up()
    assert project.killed == ["miner"]


def test_other_errors_of_the_start_stay_as_they_are() -> None:
    project = Project({"bitcoind": Container("running"), "miner": Container("running")})
    with pytest.raises(ContainerError, match="no space"), bitcoind_watched(cast(Containers, project)):
        raise ContainerError("no space left on device")
    assert project.killed == []
