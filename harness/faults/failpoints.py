"""Stopping a component at a moment that no test hits by luck: a decision is stored, and not yet acted upon.

The component does it to itself: see asyncpay.service.common.failpoints.
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
    """Where a component keeps its file, and with it the files that ask for a moment."""

    engine: Engine
    service: str
    path: str

    @property
    def frozen(self) -> Predicate:
        """The component has reached the moment, and stands still."""
        return Predicate("standing_still", lambda: None if self._there("frozen") else f"{self.service} has not stopped")

    def ask(self, effect: str, number: int, how: str = "") -> None:
        """Have the component's next life end before its n-th effect of this name, or (`freeze`) stand still there."""
        self._sh(f"rm -f {self.path}.frozen; echo {effect} {number} {how} > {self.path}.crash-before")

    def let_go(self) -> None:
        """Let the component that stands still go on. It can be told only while its container runs; if it does not,
        nothing happens, and it is to be told again.
        """
        if self.engine.states()[self.service] is ServiceState.RUNNING:
            self._sh(f"rm -f {self.path}.frozen {self.path}.crash-before")

    def _there(self, what: str) -> bool:
        return bool(self._sh(f"ls {self.path}.{what} 2>/dev/null"))

    def _sh(self, script: str) -> str:
        return self.engine.output(self.service, ["sh", "-c", script]).stdout


def store_of(testbed: Testbed, who: Phone | Lsp) -> Store:
    """A wallet's, or an LSP's."""
    if isinstance(who, Phone):
        return Store(testbed.engine, who.name, f"{DATA_DIR}/wallet.sqlite")
    return Store(testbed.engine, who.name, f"{DATA_DIR}/lsp.sqlite")


def restart(who: Phone | Lsp) -> None:
    """Kill the component where it stands, and return when its next life serves."""
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
    """The component will stand still before this effect (see `frozen` of what this gives), and goes on at the end.

    asleep: the wallet's phone is put to sleep, and it will stand still once it was woken.
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
        store.let_go()


def killed_before(testbed: Testbed, phone: Phone, effect: str, begin: Callable[[], object], number: int = 1) -> None:
    """The phone's wallet dies before this effect, which `begin` leads to, and is started again as any app."""
    store_of(testbed, phone).ask(effect, number)
    restart(phone)
    before = _starts(phone)
    begin()
    wait_for(Predicate("wallet_died", lambda: None if _starts(phone) > before else "it has not died"), 60)


def _starts(phone: Phone) -> int:
    apps = phone.container.status()["apps"]
    return next(int(app["starts"]) for app in apps if app["name"] == WALLET)
