"""Faults of what runs in a testbed: it is killed, suspended or restarted, and brought back.

    with injected(target(testbed, "LSP_a-lsp"), Fault.KILL):
        ...  # LSP_a's component is down here

Targets are named as everywhere in the testbed: `LSP_a`, `router` or `A` is a node, `LSP_a-lsp` an LSP's
component, `A-wallet` a phone's wallet, `push` the push gateway.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from harness.engines.base import ServiceState
from harness.nodes.predicates import ready
from harness.services.phone import Phone
from harness.services.phone_container import NODE, WALLET, apps_running
from harness.services.push_gateway import NAME as PUSH
from harness.testbed import Testbed
from harness.topology import COMPONENT_SUFFIX, WALLET_SUFFIX
from harness.waits import Predicate, wait_for

SUSPENDED_SECONDS = 60
"""How long SIGSTOP lasts: longer than LSP and wallet wait for an answer, and than most of their intervals."""
BACK_SECONDS = 90


class Fault(StrEnum):
    """What is done to a target."""

    KILL = "SIGKILL"
    SUSPEND = "SIGSTOP"
    RESTART = "restart"


class Target(ABC):
    """Something that runs. What brings it back returns when it answers again, also if others do not run."""

    @abstractmethod
    def kill(self) -> None:
        """Kill it where it stands."""

    @abstractmethod
    def stop(self) -> None:
        """Let it shut down in good order; a phone's node goes with the whole phone."""

    @abstractmethod
    def start(self) -> None:
        """Bring it back after either."""

    @abstractmethod
    def suspend(self) -> None:
        """Suspend it where it stands: its connections stay open."""

    @abstractmethod
    def resume(self) -> None:
        """Let it go on."""


@contextmanager
def injected(target: Target, fault: Fault) -> Iterator[None]:
    """The target is down within the block, and is brought back at its end."""
    if fault is Fault.SUSPEND:
        target.suspend()
        ends_at = time.monotonic() + SUSPENDED_SECONDS
        try:
            yield
            time.sleep(max(0, ends_at - time.monotonic()))  # the length of the fault itself: nothing is waited for
        finally:
            target.resume()
        return
    (target.kill if fault is Fault.KILL else target.stop)()
    try:
        yield
    finally:
        target.start()


def target(testbed: Testbed, name: str) -> Target:
    """By its name. Raises TestbedError if there is no such thing."""
    if name == PUSH:
        return _PushGateway(testbed)
    if name.endswith(COMPONENT_SUFFIX):
        return _Component(testbed, name)
    if name.endswith(WALLET_SUFFIX):
        return _App(testbed.phone(name.removesuffix(WALLET_SUFFIX)), WALLET)
    if name in testbed.phones:
        return _PhonesNode(testbed, testbed.phone(name))
    return _Node(testbed, name)


class _InContainer(Target):
    """It has a container of its own."""

    def __init__(self, testbed: Testbed, name: str) -> None:
        self.testbed = testbed
        self.name = name

    def kill(self) -> None:
        self.testbed.engine.kill(self.name)

    def stop(self) -> None:
        self.testbed.engine.stop(self.name)

    def start(self) -> None:
        self.testbed.engine.start(self.name)
        self._wait_until_back()

    def suspend(self) -> None:
        self.testbed.engine.freeze(self.name)

    def resume(self) -> None:
        self.testbed.engine.unfreeze(self.name)
        self._wait_until_back()

    @abstractmethod
    def _wait_until_back(self) -> None: ...


class _PushGateway(_InContainer):
    def __init__(self, testbed: Testbed) -> None:
        super().__init__(testbed, PUSH)

    def _wait_until_back(self) -> None:
        def missing() -> str | None:
            self.testbed.push.pushes()  # a NodeError, if it does not answer, is something to wait for
            return None

        wait_for(Predicate("push_gateway_back", missing), BACK_SECONDS)


class _Component(_InContainer):
    """One that stands still at a failpoint does not answer before it is let go, so there is nothing to wait for."""

    def _wait_until_back(self) -> None: ...


class _Node(_InContainer):
    def _wait_until_back(self) -> None:
        node = self.testbed[self.name]
        node.forget_connection()  # the port that it is reached by may have changed
        wait_for(ready(node), BACK_SECONDS)


class _App(Target):
    """One app of a phone."""

    def __init__(self, phone: Phone, app: str) -> None:
        self.phone = phone
        self.app = app

    def kill(self) -> None:
        self.phone.container.do_to_app(self.app, "kill")

    def stop(self) -> None:
        self.phone.container.do_to_app(self.app, "stop")

    def start(self) -> None:
        self.phone.container.do_to_app(self.app, "start")

    def suspend(self) -> None:
        self.phone.signal_app(self.app, "STOP")

    def resume(self) -> None:
        self.phone.signal_app(self.app, "CONT")


class _PhonesNode(_App):
    """The node of a phone. What shuts it down in good order is what shuts down the whole phone."""

    def __init__(self, testbed: Testbed, phone: Phone) -> None:
        super().__init__(phone, NODE)
        self._engine = testbed.engine

    def stop(self) -> None:
        self._engine.stop(self.phone.name)

    def start(self) -> None:
        if self._engine.states()[self.phone.name] is ServiceState.RUNNING:
            super().start()
        else:
            self._engine.start(self.phone.name)
        self.phone.node.forget_connection()
        wait_for(apps_running(self.phone.container), BACK_SECONDS)
        wait_for(ready(self.phone.node), BACK_SECONDS)
