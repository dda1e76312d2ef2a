"""A phone: a node and a wallet that sleep most of the time, and are woken by pushes and by people."""

from collections.abc import Callable

from .kernel import Kernel, Life
from .network import Late, Lose, Refused
from .node import SimNode
from .wallet import WalletProcess

PUSH_SECONDS = 1.0


class Phone:
    """`wakes_after`: seconds from a push to being awake; None: it ignores pushes. `stays`: how long it then stays."""

    def __init__(self, node: SimNode, wallet: WalletProcess, *, wakes_after: float | None, stays: float) -> None:
        self.node, self.wallet = node, wallet
        self.name = node.name
        self.wakes_after, self.stays = wakes_after, stays
        self.pushes = 0
        self._kernel: Kernel = node.kernel
        self._visit = Life()
        self._until = 0.0

    @property
    def awake(self) -> bool:
        """Whether its apps run."""
        return self.node.running

    def wake(self, seconds: float | None) -> None:
        """The apps run, for so many seconds at least; None: until somebody sends them to sleep."""
        if not self.awake:
            self._kernel.tell(self.name, "wakes up")
            self.node.start()
            self.wallet.start()
            self._until = 0.0
        self._visit = self._visit.end()
        self._until = float("inf") if seconds is None else max(self._until, self._kernel.now + seconds)
        if self._until < float("inf"):
            wait = self._until - self._kernel.now
            self._kernel.later(wait, self.sleep, self._visit, f"{self.name} goes to sleep")

    def sleep(self, *, silently: bool = False) -> None:
        """The apps are stopped; silently: the other ends do not notice at once."""
        if self.awake:
            self._kernel.tell(self.name, "goes to sleep")
            self._visit = self._visit.end()
            self.wallet.kill()
            self.node.kill(silently=silently)

    def push(self, method: str, report: Callable[[bool], None]) -> None:
        """An LSP calls the webhook of this phone."""
        self.pushes += 1
        self._kernel.tell(self.name, "is called: %s", method)
        self._kernel.later(PUSH_SECONDS, lambda: self._arrive(report))

    def _arrive(self, report: Callable[[bool], None]) -> None:
        late = 0.0
        for fate in self._kernel.moment(f"push to {self.name}"):
            match fate:
                case Refused():
                    report(False)
                    return
                case Lose():
                    report(True)
                    return
                case Late(seconds):
                    late = seconds
        report(True)
        if self.wakes_after is not None:
            self._kernel.later(self.wakes_after + late, lambda: self.wake(self.stays))
