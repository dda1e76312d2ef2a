"""Control of a phone: asleep, frozen, on a bad link, and back to normal. Each verb returns when its effect is visible.

    phone = testbed.phone("A")
    with phone.disconnected():
        ...
    phone.sleep()

Toxiproxy provides the link between the phone and its LSP, and that between the push gateway and the phone.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from harness.actions import ActionLog, recorded_verb
from harness.engines.base import Engine, ServiceState, json_lines
from harness.inside.interface import PhoneState
from harness.nodes.base import Node
from harness.nodes.predicates import peer_gone, peers_connected, ready
from harness.services.phone_container import (
    NODE,
    WALLET,
    PhoneContainer,
    apps_running,
    apps_stopped,
    apps_suspended,
    half_open,
)
from harness.services.toxiproxy import Direction, PhoneProxies, ProxyState, Toxiproxy
from harness.services.wallet import Wallet
from harness.waits import wait_for

BREAKING = frozenset({"timeout", "reset_peer"})
"""The toxics that no connection survives."""


class Phone:
    """One phone. Calls raise NodeError if it refuses, WaitTimeoutError if the effect does not become visible."""

    def __init__(self, node: Node, lsp: Node, proxies: PhoneProxies, engine: Engine) -> None:
        self.name = node.name
        self.node = node
        self.lsp = lsp
        self.proxies = proxies
        self.container = PhoneContainer(node.name, engine)
        self.wallet = Wallet(self.container, engine)
        self._toxiproxy = Toxiproxy(engine)
        self._engine = engine

    @property
    def actions(self) -> ActionLog:
        """The log of actions on the phone."""
        return self._engine.actions

    def state(self) -> PhoneState:
        """Awake, asleep or frozen."""
        return PhoneState(self.container.status()["state"])

    def node_runs(self) -> bool:
        """Whether the node can answer: the phone is awake, and its node was not stopped explicitly."""
        status = self.container.status()
        return status["state"] == PhoneState.AWAKE and any(app["name"] == NODE and app["pid"] for app in status["apps"])

    def link(self) -> ProxyState:
        """Return whether the link between the phone and its LSP is enabled, and its conditions."""
        return self._toxiproxy.state(self.proxies.link)

    def events(self) -> list[dict[str, Any]]:
        """Return the event log of init and wallet since the container was created, oldest first."""
        return json_lines(self._engine.logs(self.name, stderr=False))

    @recorded_verb
    def sleep(self) -> None:
        """Shut node and wallet down cleanly. A push wakes the phone."""
        self.container.do("sleep")
        wait_for(apps_stopped(self.container))
        if self._lsp_runs():
            wait_for(peer_gone(self.lsp, self.node))

    @recorded_verb
    def wake(self) -> None:
        """Start node and wallet; returns when the node is back, and connected to its LSP if the link is whole."""
        self.container.do("wake")
        self.node.forget_connection()
        wait_for(apps_running(self.container))
        wait_for(ready(self.node), 90)
        self._wait_until_connected()

    @recorded_verb
    def freeze(self) -> None:
        """Suspend node and wallet: the LSP regards the connection as alive, and gets no answer."""
        connected = self._lsp_runs() and self.node.node_id in self.lsp.peers()
        self.container.do("freeze")
        wait_for(half_open(self.container, self.lsp, self.node) if connected else apps_suspended(self.container))

    @recorded_verb
    def unfreeze(self) -> None:
        """Resume a frozen phone."""
        self.container.do("unfreeze")
        wait_for(apps_running(self.container))

    @recorded_verb
    def signal_app(self, app: str, signal: str) -> None:
        """Send a signal, STOP or CONT, to the process of one app."""
        pid = next(each["pid"] for each in self.container.status()["apps"] if each["name"] == app)
        self._engine.output(self.name, ["sh", "-c", f"kill -{signal} {pid}"])

    @recorded_verb
    def disconnect(self) -> None:
        """Cut the link, also for pushes; return when both ends have seen it."""
        self._enable(False)
        if self._lsp_runs():
            wait_for(peer_gone(self.lsp, self.node))
        if self.node_runs():
            wait_for(peer_gone(self.node, self.lsp))

    @recorded_verb
    def reconnect(self, wait: bool = True) -> None:
        """Restore a link that was cut; return when phone and LSP are connected again, unless the phone is asleep.

        wait: False for a test in which one of the two cannot connect at the moment.
        """
        self._enable(True)
        self.container.network_is_back()
        if wait:
            self._wait_until_connected()

    @recorded_verb
    def blackhole(self, *directions: Direction) -> None:
        """Drop all data, while both ends stay connected; in one direction only if it is named."""
        self._afflict("timeout", *directions, timeout=0)
        if self._both_run() and self.link().enabled:
            wait_for(peers_connected(self.node, self.lsp))

    @recorded_verb
    def latency(self, milliseconds: int, *directions: Direction) -> None:
        """Add latency in each direction (a round trip takes twice as long), or in one direction only."""
        self._afflict("latency", *directions, latency=milliseconds)

    @recorded_verb
    def bandwidth(self, kilobytes_per_second: int, *directions: Direction) -> None:
        """Limit the throughput in each direction, or in one direction only. A sender that exceeds it is blocked."""
        self._afflict("bandwidth", *directions, rate=kilobytes_per_second)

    @recorded_verb
    def reset(self) -> None:
        """Break the connection, and reset every later one (TCP RST) as soon as something is sent through it.

        The existing connection is closed first: a toxic that is added to an open connection does not affect data that
        another toxic delays.
        """
        self._enable(False)
        if self._lsp_runs():
            wait_for(peer_gone(self.lsp, self.node))
        self._afflict("reset_peer", timeout=0)
        self._enable(True)

    @recorded_verb
    def restore(self) -> None:
        """Undo everything: the phone is awake, all of its apps run, and its link works normally."""
        if self.state() is PhoneState.FROZEN:
            self.unfreeze()
        for app in (NODE, WALLET):
            self.container.do_to_app(app, "start")
        self.restore_link()
        self.wake()

    @recorded_verb
    def restore_link(self, wait: bool = True) -> None:
        """Restore the link, after any fault; return like `reconnect`."""
        if BREAKING & {kind for kind, _ in self.link().toxics}:
            self.disconnect()  # so that a connection seen afterwards is a new one
        for proxy in (self.proxies.link, self.proxies.push):
            self._toxiproxy.clear(proxy)
        self.reconnect(wait)

    @contextmanager
    def _for_a_while(self, begin: Callable[[], None], end: Callable[[], None]) -> Iterator[None]:
        begin()
        try:
            yield
        finally:
            end()

    def asleep(self) -> AbstractContextManager[None]:
        """`sleep`, and `wake` at the end of the `with` block."""
        return self._for_a_while(self.sleep, self.wake)

    def frozen(self) -> AbstractContextManager[None]:
        """`freeze`, and `unfreeze` at the end of the `with` block."""
        return self._for_a_while(self.freeze, self.unfreeze)

    def disconnected(self) -> AbstractContextManager[None]:
        """`disconnect`, and `reconnect` at the end of the `with` block."""
        return self._for_a_while(self.disconnect, self.reconnect)

    def blackholed(self) -> AbstractContextManager[None]:
        """`blackhole`, and `restore_link` at the end of the `with` block."""
        return self._for_a_while(self.blackhole, self.restore_link)

    def latency_ms(self, milliseconds: int) -> AbstractContextManager[None]:
        """`latency`, and `restore_link` at the end of the `with` block."""
        return self._for_a_while(lambda: self.latency(milliseconds), self.restore_link)

    def bandwidth_kilobytes(self, per_second: int) -> AbstractContextManager[None]:
        """`bandwidth`, and `restore_link` at the end of the `with` block."""
        return self._for_a_while(lambda: self.bandwidth(per_second), self.restore_link)

    def resetting(self) -> AbstractContextManager[None]:
        """`reset`, and `restore_link` at the end of the `with` block."""
        return self._for_a_while(self.reset, self.restore_link)

    def _afflict(self, kind: str, *directions: Direction, **attributes: int) -> None:
        self._toxiproxy.add(self.proxies.link, kind, *directions, **attributes)
        if not directions:
            self._toxiproxy.add(self.proxies.push, kind, **attributes)

    def _enable(self, enabled: bool) -> None:
        for proxy in (self.proxies.link, self.proxies.push):
            self._toxiproxy.enable(proxy, enabled)

    def connects(self) -> bool:
        """Whether the link in its present state can carry a connection between the phone and its LSP."""
        link = self.link()
        return link.enabled and not BREAKING & {kind for kind, _ in link.toxics}

    def _wait_until_connected(self) -> None:
        if self._both_run() and self.connects():
            wait_for(peers_connected(self.node, self.lsp), 60)

    def _both_run(self) -> bool:
        return self._lsp_runs() and self.state() is PhoneState.AWAKE

    def _lsp_runs(self) -> bool:
        return self._engine.states().get(self.lsp.name) is ServiceState.RUNNING
