"""Stop a component at a moment that no test hits by chance: a decision is stored, and not yet acted upon.

The component stops itself: see asyncpay.service.common.failpoints.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.engines.base import Engine, ServiceState
from harness.services.lsp import DATA_DIR, Lsp, interceptor_attached
from harness.services.phone import Phone
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for

ATTACH_SECONDS = 90
WALLET = "wallet"


@dataclass(frozen=True)
class Store:
    """The store of a component. The files that configure its failpoints are in the same folder."""

    engine: Engine
    service: str
    path: str

    @property
    def frozen(self) -> Predicate:
        """The component has reached the failpoint, and is stopped there."""
        return Predicate("standing_still", lambda: None if self._there("frozen") else f"{self.service} has not stopped")

    def ask(self, effect: str, number: int, how: str = "") -> None:
        """Make the next run of the component exit before its n-th effect of this name, or (`freeze`) stop there."""
        self._sh(f"rm -f {self.path}.frozen; echo {effect} {number} {how} > {self.path}.crash-before")

    def resume(self) -> None:
        """Resume a stopped component. This works only while its container runs; otherwise it has no effect, and must be
        repeated.
        """
        if self.engine.states()[self.service] is ServiceState.RUNNING:
            self._sh(f"rm -f {self.path}.frozen {self.path}.crash-before")

    def _there(self, what: str) -> bool:
        return bool(self._sh(f"ls {self.path}.{what} 2>/dev/null"))

    def _sh(self, script: str) -> str:
        return self.engine.output(self.service, ["sh", "-c", script]).stdout


def store_of(testbed: Testbed, who: Phone | Lsp) -> Store:
    """Return the store of a wallet or an LSP."""
    if isinstance(who, Phone):
        return Store(testbed.engine, who.name, f"{DATA_DIR}/wallet.sqlite")
    return Store(testbed.engine, who.name, f"{DATA_DIR}/lsp.sqlite")


def restart(who: Phone | Lsp) -> None:
    """Kill the component (SIGKILL), and return when it serves again after its restart."""
    if isinstance(who, Phone):
        who.container.do_to_app(WALLET, "kill")
        who.container.do_to_app(WALLET, "start")
        wait_for(who.wallet.ready(), ATTACH_SECONDS)
    else:
        who.kill()
        who.start()
        wait_for(interceptor_attached(who), ATTACH_SECONDS)


@contextmanager
def frozen_before(
    testbed: Testbed, who: Phone | Lsp, effect: str, number: int = 1, asleep: bool = False
) -> Iterator[Store]:
    """Make the component stop before this effect (see `frozen` of the result), and resume it at the end of the block.

    asleep: put the wallet's phone to sleep; the wallet stops there after it has been woken.
    """
    store = store_of(testbed, who)
    store.ask(effect, number, "freeze")
    if asleep and isinstance(who, Phone):
        who.sleep()
    else:
        restart(who)
    try:
        yield store
    finally:
        store.resume()


def killed_before(testbed: Testbed, phone: Phone, effect: str, begin: Callable[[], object], number: int = 1) -> None:
    """Crash the phone's wallet before this effect, which `begin` causes; the phone restarts it like any app."""
    store_of(testbed, phone).ask(effect, number)
    restart(phone)
    before = _starts(phone)
    begin()
    wait_for(Predicate("wallet_died", lambda: None if _starts(phone) > before else "it has not died"), 60)


def _starts(phone: Phone) -> int:
    apps = phone.container.status()["apps"]
    return next(int(app["starts"]) for app in apps if app["name"] == WALLET)
