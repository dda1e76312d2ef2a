"""Faults of a testbed's processes: kill, suspend or restart them, and bring them back.

    with injected(target(testbed, "LSP_a-lsp"), Fault.KILL):
        ...  # LSP_a's component is down here

Targets have the usual names of the testbed: `LSP_a`, `router` or `A` is a node, `LSP_a-lsp` an LSP's
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
"""Duration of SIGSTOP: longer than the LSP's and the wallet's timeouts for an answer, and than most intervals."""
BACK_SECONDS = 90


class Fault(StrEnum):
    """A kind of fault."""

    KILL = "SIGKILL"
    SUSPEND = "SIGSTOP"
    RESTART = "restart"


class Target(ABC):
    """A process that can fail. `start` and `resume` return when it answers again, even if other services are down."""

    @abstractmethod
    def kill(self) -> None:
        """Kill it (SIGKILL)."""

    @abstractmethod
    def stop(self) -> None:
        """Shut it down cleanly; a phone's node is shut down with the whole phone."""

    @abstractmethod
    def start(self) -> None:
        """Start it again after `kill` or `stop`."""

    @abstractmethod
    def suspend(self) -> None:
        """Suspend it (SIGSTOP): its connections stay open."""

    @abstractmethod
    def resume(self) -> None:
        """Resume it."""


@contextmanager
def injected(target: Target, fault: Fault) -> Iterator[None]:
    """Keep the target down within the `with` block, and bring it back at its end."""
    if fault is Fault.SUSPEND:
        target.suspend()
        ends_at = time.monotonic() + SUSPENDED_SECONDS
        try:
            yield
            time.sleep(max(0, ends_at - time.monotonic()))  # the duration of the fault itself, not a wait
        finally:
            target.resume()
        return
    (target.kill if fault is Fault.KILL else target.stop)()
    try:
        yield
    finally:
        target.start()


def target(testbed: Testbed, name: str) -> Target:
    """Return the target with this name. Raises TestbedError if there is none."""
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
    """A target with its own container."""

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
            self.testbed.push.pushes()  # a NodeError (no answer) counts as missing
            return None

        wait_for(Predicate("push_gateway_back", missing), BACK_SECONDS)


class _Component(_InContainer):
    """A component. One that is stopped at a failpoint does not answer before it is resumed, so do not wait for it."""

    def _wait_until_back(self) -> None: ...


class _Node(_InContainer):
    def _wait_until_back(self) -> None:
        node = self.testbed[self.name]
        node.forget_connection()  # its port may have changed
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
    """The node of a phone. A clean shutdown is that of the whole phone."""

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
