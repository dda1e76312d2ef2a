"""What has ended is told at once, and nothing else ends a wait early."""

from types import SimpleNamespace
from typing import cast

import pytest

from harness.checks.early_exits import EndedError, bitcoind_watched, unless_ended
from harness.engines.base import EngineError, ServiceState
from harness.errors import NodeError
from harness.testbed import Testbed
from harness.waits import Predicate, WaitTimeoutError, wait_for
from tests.unit.harness.played_engine import PlayedEngine, Service


def unready() -> str | None:
    raise NodeError("A has no file tls.cert (yet)")


def wait(service: Service) -> None:
    testbed = SimpleNamespace(engine=PlayedEngine({"A": service}), phones={})
    wait_for(unless_ended(cast(Testbed, testbed), "A", Predicate("ready", unready)), timeout_seconds=0.05)


def project(bitcoind: ServiceState) -> PlayedEngine:
    return PlayedEngine({"bitcoind": Service(bitcoind), "miner": Service()})


def test_a_container_that_has_exited_is_not_waited_for() -> None:
    with pytest.raises(EndedError, match=r"A has ended \(exit code 1\)(.|\n)*unknown flag `bogus'"):
        wait(Service(ServiceState.EXITED, exit_code=1, log=b"unknown flag `bogus'\n"))


def test_one_that_runs_is() -> None:
    with pytest.raises(WaitTimeoutError, match=r"ready not reached in .*; last seen: A has no file tls\.cert"):
        wait(Service())


@pytest.mark.parametrize("state", [ServiceState.EXITED, ServiceState.RESTARTING])
def test_bitcoind_s_end_ends_the_start(state: ServiceState) -> None:
    """Compose waits for the miner, and the miner for bitcoind."""
    engine = project(state)

    def compose_up() -> None:
        wait_for(Predicate("miner_ended", lambda: None if engine.done else "the miner waits for bitcoind"), 10, 0.02)
        raise EngineError('service "miner" didn\'t complete successfully')

    with pytest.raises(EndedError, match="bitcoind has ended"), bitcoind_watched(engine):
        compose_up()
    assert engine.done == ["kill miner"]


def test_other_errors_of_the_start_stay_as_they_are() -> None:
    engine = project(ServiceState.RUNNING)
    with pytest.raises(EngineError, match="no space"), bitcoind_watched(engine):
        raise EngineError("no space left on device")
    assert engine.done == []
