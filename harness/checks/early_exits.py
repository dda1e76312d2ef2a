"""Detect services that exit during bring-up and will not be restarted: fail immediately, with their last log lines."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from harness.engines.base import Engine, EngineError, ServiceState
from harness.errors import NodeError, TestbedError
from harness.services.phone_container import NODE, WALLET_CLI, PhoneContainer
from harness.testbed import Testbed
from harness.waits import Predicate

LOOK_SECONDS = 0.5
MOST_STARTS = 3
"""A node that was started this many times during bring-up is in a crash loop."""


class EndedError(TestbedError):
    """A node, bitcoind or a component has exited; the message has its exit code and its last log lines."""


def unless_ended(testbed: Testbed, service: str, predicate: Predicate) -> Predicate:
    """Return the predicate, changed to raise EndedError instead of waiting for a service that has exited."""

    def missing() -> str | None:
        try:
            seen = predicate.missing()
        except NodeError as error:
            seen = str(error)
        if seen is not None:
            refuse_ended(testbed, service)
        return seen

    return Predicate(predicate.name, missing)


def refuse_ended(testbed: Testbed, service: str) -> None:
    """Raise EndedError if a container has exited, or if an app of this phone has exited for good."""
    _refuse_exited(testbed.engine, service)
    if service in testbed.phones:
        _refuse_ended_app(testbed.phones[service].container, testbed.engine)


def _refuse_exited(engine: Engine, service: str) -> None:
    code = engine.exit_code(service)
    if code is not None:
        raise EndedError(f"{service} has ended (exit code {code}). It said last:\n{engine.last_lines(service)}")


def _refuse_ended_app(phone: PhoneContainer, engine: Engine) -> None:
    try:
        apps = phone.status()["apps"]
    except NodeError:  # it has just been started
        return
    for app in apps:
        if app["name"] == NODE and app["starts"] >= MOST_STARTS:
            said = engine.last_lines(phone.name, before=f'"what": "{NODE} ended"')
            raise EndedError(f"the node of {phone.name} ends whenever it is started. It said last:\n{said}")
        if app["gave_up"]:
            why = engine.output(phone.name, [*WALLET_CLI, "status"]).stderr.strip()
            raise EndedError(
                f"the {app['name']} of {phone.name} has ended (exit code {app['last_exit']}): {why}. "
                "Correct the arguments or the policy of its component"
            )


@contextmanager
def bitcoind_watched(engine: Engine) -> Iterator[None]:
    """Guard the start of containers, which waits for the miner, which in turn waits a minute for bitcoind.

    Raises EndedError instead of any other error if bitcoind has exited.
    """
    done = threading.Event()
    seen: list[EndedError] = []
    watcher = threading.Thread(target=_stop_miner_if_bitcoind_ends, args=(engine, done, seen), daemon=True)
    watcher.start()
    try:
        yield
    except Exception:
        with suppress(EngineError):
            _refuse_exited(engine, "bitcoind")
        if seen:
            raise seen[0] from None
        raise
    finally:
        done.set()
        watcher.join()


def _stop_miner_if_bitcoind_ends(engine: Engine, done: threading.Event, seen: list[EndedError]) -> None:
    """seen: receives the error, because bitcoind may be restarted before the main thread checks it."""
    while not done.wait(LOOK_SECONDS):
        with suppress(EngineError):
            if engine.states().get("miner") is not ServiceState.RUNNING:
                continue
            try:
                _refuse_exited(engine, "bitcoind")
            except EndedError as error:
                seen.append(error)
                engine.kill("miner")
                return
