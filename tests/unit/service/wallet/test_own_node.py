"""When a node that takes its chain for stale is believed to have followed it all the same, and when it is not."""

import pytest

from asyncpay.lightning import SyncState
from asyncpay.service.wallet.own_node import ChainWatch

OLD_TIP_SECONDS = 1200.0
TIP, OTHER_TIP = b"1" * 32, b"2" * 32
SYNCED, BEHIND = SyncState(synced=True), SyncState(synced=False)


def stale(tip: bytes = TIP) -> SyncState:
    return SyncState(synced=False, old_tip=tip)


class Watched:
    def __init__(self) -> None:
        self.now = 0.0
        self.watch = ChainWatch(OLD_TIP_SECONDS, lambda: self.now)

    def believed(self, seen: SyncState, after_seconds: float = 0) -> bool:
        self.now += after_seconds
        return self.watch.objection(seen) is None


def test_a_synced_node_is_believed_at_once() -> None:
    assert Watched().believed(SYNCED)


def test_a_node_that_is_behind_is_never_believed() -> None:
    watched = Watched()
    assert not any(watched.believed(BEHIND, 600) for _ in range(1000))


def test_an_old_tip_is_believed_once_it_has_been_the_best_for_long() -> None:
    watched = Watched()
    assert not watched.believed(stale())
    assert not watched.believed(stale(), OLD_TIP_SECONDS - 1)
    assert watched.believed(stale(), 1)


@pytest.mark.parametrize("seen", [SYNCED, BEHIND, stale(OTHER_TIP)])
def test_the_watch_begins_again_whenever_anything_else_was_seen(seen: SyncState) -> None:
    watched = Watched()
    watched.believed(stale())
    watched.believed(seen, OLD_TIP_SECONDS - 1)
    assert not watched.believed(stale(), 1)
    assert not watched.believed(stale(), OLD_TIP_SECONDS - 2)


def test_a_node_whose_lsp_was_away_is_watched_anew_because_its_backend_may_have_been_away_too() -> None:
    watched = Watched()
    watched.believed(stale())
    watched.now += OLD_TIP_SECONDS
    watched.watch.begin_afresh()
    assert not watched.believed(stale())
