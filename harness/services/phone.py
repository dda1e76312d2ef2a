"""A phone from outside: asleep, frozen, on a bad link, and back again. Each verb returns when its effect is there.

    phone = testbed.phone("A")
    with phone.disconnected():
        ...
    phone.sleep()

The link is Toxiproxy's: it is between the phone and its LSP, and between the push gateway and the phone.
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
    """One phone. Calls raise NodeError if it cannot do as told, WaitTimeoutError if the effect does not show."""

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
        """What is done to the phone is written down here."""
        return self._engine.actions

    def state(self) -> PhoneState:
        """Awake, asleep or frozen."""
        return PhoneState(self.container.status()["state"])

    def node_runs(self) -> bool:
        """The node can answer: the phone is awake, and its node was not told to stay down."""
        status = self.container.status()
        return status["state"] == PhoneState.AWAKE and any(app["name"] == NODE and app["pid"] for app in status["apps"])

    def link(self) -> ProxyState:
        """Whether anything passes between the phone and its LSP, and what is done to it."""
        return self._toxiproxy.state(self.proxies.link)

    def events(self) -> list[dict[str, Any]]:
        """What init and wallet have written since the container was made, oldest first."""
        return json_lines(self._engine.logs(self.name, stderr=False))

    @recorded_verb
    def sleep(self) -> None:
        """Stop node and wallet in good order. A push wakes the phone."""
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
        """Suspend node and wallet where they stand: the LSP takes the connection for alive, and gets no answer."""
        connected = self._lsp_runs() and self.node.node_id in self.lsp.peers()
        self.container.do("freeze")
        wait_for(half_open(self.container, self.lsp, self.node) if connected else apps_suspended(self.container))

    @recorded_verb
    def unfreeze(self) -> None:
        """Let a frozen phone continue."""
        self.container.do("unfreeze")
        wait_for(apps_running(self.container))

    @recorded_verb
    def signal_app(self, app: str, signal: str) -> None:
        """Send the process of one app alone a signal, by its name: STOP, CONT."""
        pid = next(each["pid"] for each in self.container.status()["apps"] if each["name"] == app)
        self._engine.output(self.name, ["sh", "-c", f"kill -{signal} {pid}"])

    @recorded_verb
    def disconnect(self) -> None:
        """Cut the link, so that no push gets through either; returns when both ends have seen it."""
        self._enable(False)
        if self._lsp_runs():
            wait_for(peer_gone(self.lsp, self.node))
        if self.node_runs():
            wait_for(peer_gone(self.node, self.lsp))

    @recorded_verb
    def reconnect(self, wait: bool = True) -> None:
        """Restore a link that was cut; returns when phone and LSP are connected again, unless the phone sleeps.

        wait: False for a test in which one of the two cannot connect just now.
        """
        self._enable(True)
        self.container.network_is_back()
        if wait:
            self._wait_until_connected()

    @recorded_verb
    def blackhole(self, *directions: Direction) -> None:
        """Let nothing pass any more, while both ends keep their connection; in one direction alone if it is named."""
        self._afflict("timeout", *directions, timeout=0)
        if self._both_run() and self.link().enabled:
            wait_for(peers_connected(self.node, self.lsp))

    @recorded_verb
    def latency(self, milliseconds: int, *directions: Direction) -> None:
        """Delay everything by so much each way (an answer takes twice as long), or in one direction alone."""
        self._afflict("latency", *directions, latency=milliseconds)

    @recorded_verb
    def bandwidth(self, kilobytes_per_second: int, *directions: Direction) -> None:
        """Let only so much pass each way; in one direction alone if it is named. Who sends more has to wait."""
        self._afflict("bandwidth", *directions, rate=kilobytes_per_second)

    @recorded_verb
    def reset(self) -> None:
        """Break the connection, and reset every later one (TCP RST) as soon as something is sent through it.

        It is broken first: a toxic that is added to a living connection lets through what another one delays.
        """
        self._enable(False)
        if self._lsp_runs():
            wait_for(peer_gone(self.lsp, self.node))
        self._afflict("reset_peer", timeout=0)
        self._enable(True)

    @recorded_verb
    def restore(self) -> None:
        """Undo everything: the phone is awake, all of its apps run, and its link is whole."""
        if self.state() is PhoneState.FROZEN:
            self.unfreeze()
        for app in (NODE, WALLET):
            self.container.do_to_app(app, "start")
        self.restore_link()
        self.wake()

    @recorded_verb
    def restore_link(self, wait: bool = True) -> None:
        """Restore the link, after any fault; returns as `reconnect` does."""
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
        """Whether a connection between the phone and its LSP survives on the link as it is."""
        link = self.link()
        return link.enabled and not BREAKING & {kind for kind, _ in link.toxics}

    def _wait_until_connected(self) -> None:
        if self._both_run() and self.connects():
            wait_for(peers_connected(self.node, self.lsp), 60)

    def _both_run(self) -> bool:
        return self._lsp_runs() and self.state() is PhoneState.AWAKE

    def _lsp_runs(self) -> bool:
        return self._engine.states().get(self.lsp.name) is ServiceState.RUNNING
