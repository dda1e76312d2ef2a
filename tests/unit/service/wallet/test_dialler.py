"""The node dials the LSP when there is news, otherwise after growing pauses, and never in a storm."""

import asyncio
from itertools import pairwise

import pytest

from asyncpay.engine.policy import DialPolicy
from asyncpay.node_events import PeerConnected, PeerDisconnected
from asyncpay.service.wallet.dialler import DialSchedule

from .conftest import PhoneWith
from .scripted_node import LSP
from .wallet_harness import WalletHarness, awake, until

POLICY = DialPolicy(dial_first_seconds=1, dial_most_seconds=60, dial_jitter=0.25)


def schedule(chance: float = 0.5) -> DialSchedule:
    """By chance 0.5 every pause has its mean length."""
    return DialSchedule(POLICY, lambda: chance)


def failing(dials: DialSchedule, times: int) -> list[float]:
    """The pauses after that many attempts that fail at once."""
    pauses = []
    for _ in range(times):
        assert dials.due is not None
        now = dials.due
        dials.dialled(now)
        pauses.append(dials.due - now)
    return pauses


def test_the_pauses_double_up_to_the_longest() -> None:
    dials = schedule()
    dials.lost(100)
    assert dials.due == 102, "the node dials by itself first"
    assert failing(dials, 9) == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert failing(dials, 5_000)[-1] == 60


@pytest.mark.parametrize(("chance", "pauses"), [(0.0, [0.75, 1.5, 3.0]), (0.999, [1.25, 2.5, 5.0])])
def test_each_pause_is_longer_or_shorter_by_chance(chance: float, pauses: list[float]) -> None:
    dials = schedule(chance)
    dials.lost(100)
    assert dials.due == pytest.approx(101.5 + chance)
    assert failing(dials, 3) == pytest.approx(pauses, abs=0.01)


def test_news_is_a_reason_to_dial_now_and_to_begin_with_short_pauses() -> None:
    dials = schedule()
    dials.lost(100)
    failing(dials, 8)
    dials.hurry(1_000)
    assert dials.due == 1_000
    assert failing(dials, 3) == [1, 2, 4]


def test_however_much_news_there_is_no_two_attempts_are_within_the_first_pause() -> None:
    dials = schedule()
    dials.lost(100)
    attempts: list[float] = []
    for step in range(1_000):  # news every 10 ms for 10 s
        now = 100 + step / 100
        dials.hurry(now)
        if dials.due is not None and dials.due <= now:
            attempts.append(now)
            dials.dialled(now)
    assert len(attempts) == 10
    assert min(later - earlier for earlier, later in pairwise(attempts)) >= 1


def test_news_while_an_attempt_is_made_is_not_forgotten() -> None:
    dials = schedule()
    dials.lost(100)
    failing(dials, 8)
    dials.hurry(1_000)
    dials.dialled(1_005)
    assert dials.due == 1_006


def test_a_dial_that_ends_when_the_lsp_is_there_is_the_last() -> None:
    dials = schedule()
    dials.lost(100)
    dials.found(103)
    dials.dialled(104)
    assert dials.due is None


def test_a_connection_that_does_not_last_does_not_make_the_pauses_short_again() -> None:
    dials = schedule()
    dials.lost(100)
    failing(dials, 5)
    dials.found(200)
    assert dials.due is None
    dials.hurry(201)
    assert dials.due is None, "there is nothing to dial"
    dials = schedule()
    dials.lost(100)
    failing(dials, 5)
    dials.found(200)
    dials.lost(210)
    assert dials.due == 210 + 16
    dials.dialled(226)
    dials.found(226)
    dials.found(280)
    dials.lost(290)
    assert dials.due == 292, "it lasted 64 s"


def test_what_is_still_missing_does_not_put_off_the_attempt() -> None:
    dials = schedule()
    dials.lost(100)
    dials.lost(100.4)
    assert dials.due == 102


# --- in the running wallet ---


@pytest.fixture
def distant(phone_with: PhoneWith) -> WalletHarness:
    """A phone that is told where its LSP is, whose first pause is longer than a test."""
    pauses = {"dial_first_seconds": 3_600, "dial_most_seconds": 3_600}
    phone = phone_with(lsp={"address": "lsp.example.com:9735"}, policy=pauses)
    phone.node.reachable = True
    return phone


def test_a_wallet_that_finds_its_node_without_the_lsp_leaves_it_the_first_dial(phone_with: PhoneWith) -> None:
    phone = phone_with(lsp={"address": "lsp.example.com:9735"}, policy={"dial_first_seconds": 0.02})
    phone.node.online, phone.node.reachable = False, True
    awake(phone, lambda: until(lambda: phone.node.online))
    assert phone.node.dialled == [(LSP, "lsp.example.com:9735")]


def test_a_node_that_connects_by_itself_is_not_told_to(distant: WalletHarness) -> None:
    distant.node.online = False

    async def story() -> None:
        distant.node.online = True
        distant.node.tell(PeerConnected(LSP))
        while not (await distant.ask("status"))["lsp"]["connected"]:
            pass
        await distant.ask("reconnect")

    awake(distant, story)
    assert distant.node.dialled == []


def test_upon_a_push_it_dials_immediately_and_not_if_the_lsp_is_there(distant: WalletHarness) -> None:
    node = distant.node

    async def story() -> None:
        assert (await distant.ask("reconnect"))["connected"]
        assert node.dialled == []
        node.online = False
        node.tell(PeerDisconnected(LSP))
        await until(lambda: len(distant.lines("attached")) == 1)
        while (await distant.ask("reconnect"))["connected"]:
            pass
        await until(lambda: node.online)
        while not (await distant.ask("status"))["lsp"]["connected"]:
            pass

    awake(distant, story)
    assert node.dialled == [(LSP, "lsp.example.com:9735")]


def test_a_storm_of_pushes_is_one_attempt(distant: WalletHarness) -> None:
    node = distant.node
    node.online = node.reachable = False

    async def story() -> None:
        await distant.ask("reconnect")
        await until(lambda: len(distant.lines("LSP not reached")) == 1)
        await asyncio.gather(*(distant.ask("reconnect") for _ in range(50)))

    awake(distant, story)
    assert len(node.dialled) == 1


def test_an_error_that_nobody_foresaw_ends_that_attempt_only(phone_with: PhoneWith) -> None:
    phone = phone_with(policy={"dial_first_seconds": 0.01, "dial_most_seconds": 0.02})
    phone.node.online = False
    phone.node.failing["connect_peer"] = ValueError("no port")

    async def story() -> None:
        await until(lambda: len(phone.node.dialled) == 3)
        phone.node.failing.clear()
        phone.node.reachable = True
        await until(lambda: phone.node.online)

    awake(phone, story)
    assert phone.node.dialled[0] == (LSP, None)
