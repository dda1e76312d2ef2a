"""A phone: a node and a wallet that sleep most of the time, and are woken by pushes and by people."""

from collections.abc import Callable

from .kernel import Kernel, Lifetime
from .network import Delayed, Lost, Rejected
from .node import SimNode
from .wallet import WalletProcess

PUSH_SECONDS = 1.0
COOLDOWN_SECONDS = 60.0
"""The minimum time between two notifications of one kind, unless the phone was connected meanwhile."""


class Phone:
    """A phone. `wakes_after`: seconds from a push to being awake; None: it ignores pushes. `stays`: seconds awake."""

    def __init__(self, node: SimNode, wallet: WalletProcess, *, wakes_after: float | None, stays: float) -> None:
        self.node, self.wallet = node, wallet
        self.name = node.name
        self.wakes_after, self.stays = wakes_after, stays
        self.notified_too_soon: list[tuple[str, float, float]] = []
        self._notified_at: dict[str, float] = {}
        self._kernel: Kernel = node.kernel
        self._visit = Lifetime()
        self._until = 0.0
        self._awake = True

    @property
    def awake(self) -> bool:
        """Whether its apps run."""
        return self._awake

    def wake(self, seconds: float | None) -> None:
        """Run the apps, for at least this many seconds; None: until `sleep`."""
        if not self._awake:
            self._awake = True
            self._kernel.log(self.name, "wakes up")
            self.node.start()
            self.wallet.start()
            self._until = 0.0
        self._visit = self._visit.end()
        self._until = float("inf") if seconds is None else max(self._until, self._kernel.now + seconds)
        if self._until < float("inf"):
            wait = self._until - self._kernel.now
            self._kernel.call_later(wait, self.sleep, self._visit, f"{self.name} goes to sleep")

    def sleep(self, *, silently: bool = False) -> None:
        """Stop the apps; silently: the other ends do not notice immediately."""
        if self._awake:
            self._awake = False
            self._kernel.log(self.name, "goes to sleep")
            self._visit = self._visit.end()
            self.wallet.kill()
            self.node.kill(silently=silently)

    def crash_node(self, down_seconds: float, *, silently: bool) -> None:
        """Kill the node's process, and restart it later unless the phone is asleep by then."""
        self.node.kill(silently=silently)
        self._kernel.call_later(down_seconds, self._restart_node)

    def _restart_node(self) -> None:
        if self._awake:
            self.node.start()
            self.wallet.start()

    def notified(self, method: str, connected_at: float) -> None:
        """An LSP has decided to call the webhook of this phone. connected_at: when it last saw it connected.

        The push itself is sent later: the phone may be connected by then, which the LSP could not know.
        """
        before = self._notified_at.get(method, -COOLDOWN_SECONDS)
        if self._kernel.now < before + COOLDOWN_SECONDS - 0.1 and connected_at < before:
            self.notified_too_soon.append((method, before, self._kernel.now))
            self._kernel.changed()
        self._notified_at[method] = self._kernel.now

    def push(self, method: str, report: Callable[[bool], None]) -> None:
        """An LSP calls the webhook of this phone."""
        self._kernel.log(self.name, "is called: %s", method)
        self._kernel.call_later(PUSH_SECONDS, lambda: self._arrive(method, report))

    def _arrive(self, method: str, report: Callable[[bool], None]) -> None:
        late = 0.0
        for fault in self._kernel.failpoint(f"push to {self.name}"):
            match fault:
                case Rejected():
                    self._notified_at.pop(method, None)
                    report(False)
                    return
                case Lost():
                    report(True)
                    return
                case Delayed(seconds):
                    late = seconds
        report(True)
        if self.wakes_after is not None:
            self._kernel.call_later(self.wakes_after + late, lambda: self.wake(self.stays))
