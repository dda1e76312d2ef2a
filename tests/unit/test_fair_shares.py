"""Shares of work: nobody's work waits for a greedy party's, and what a party can pile up is bounded."""

import asyncio

import pytest

from asyncpay.fair_shares import FairQueue, FairSemaphore, TooManyError

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Work:
    """Work that goes on until it is let go; who has begun, in order."""

    def __init__(self, semaphore: FairSemaphore) -> None:
        self.begun: list[str] = []
        self.refused: list[str] = []
        self._semaphore = semaphore
        self._proceed: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def ask(self, *names: str) -> None:
        """The first letter of a name is its party's."""
        for name in names:
            try:
                slot = self._semaphore.slot(name[0])
            except TooManyError:
                self.refused.append(name)
                continue
            self._proceed[name] = asyncio.Event()
            self._tasks.append(asyncio.create_task(self._do(name, slot)))

    async def _do(self, name: str, slot: object) -> None:
        try:
            async with slot:  # type: ignore[attr-defined]
                self.begun.append(name)
                await self._proceed[name].wait()
        except TooManyError:
            self.refused.append(name)

    async def finish(self, *names: str) -> None:
        await settle()
        for name in names:
            self._proceed[name].set()
            await settle()

    async def cancel(self, number: int) -> None:
        self._tasks[number].cancel()
        await settle()


async def settle() -> None:
    """Let every task come to where it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_greedy_party_waits_for_its_own_work_only() -> None:
    work = Work(FairSemaphore(each=1, waiting=100, at_once=2))
    work.ask(*(f"g{number}" for number in range(50)), "h0", "h1")
    await settle()
    assert work.begun == ["g0", "h0"]
    await work.finish("h0")
    assert work.begun == ["g0", "h0", "h1"]


async def test_parties_take_turns() -> None:
    work = Work(FairSemaphore(each=5, waiting=100, at_once=1))
    work.ask("a0", "a1", "a2", "b0", "b1", "c0")
    await work.finish("a0", "b0", "c0", "a1", "b1", "a2")
    assert work.begun == ["a0", "a1", "b0", "c0", "a2", "b1"]


async def test_one_partys_work_begins_in_order() -> None:
    work = Work(FairSemaphore(each=1, waiting=10))
    work.ask("a0", "a1", "a2")
    await work.finish("a0", "a1", "a2")
    assert work.begun == ["a0", "a1", "a2"]


async def test_a_party_has_only_so_much_waiting() -> None:
    work = Work(FairSemaphore(each=1, waiting=2))
    work.ask("a0", "a1", "a2", "a3", "b0", "b1")
    assert work.refused == ["a3"]


async def test_without_room_to_wait_what_can_begin_begins() -> None:
    work = Work(FairSemaphore(each=2, waiting=0))
    work.ask("a0", "a1", "a2")
    await settle()
    assert (work.begun, work.refused) == (["a0", "a1"], ["a2"])


async def test_when_all_wait_the_party_with_most_loses_its_latest() -> None:
    work = Work(FairSemaphore(each=1, waiting=10, at_once=1, waiting_in_all=4))
    work.ask("g0", "g1", "g2", "g3", "g4", "h0", "i0")
    await settle()
    assert set(work.refused) == {"g3", "g4"}
    await work.finish("g0", "g1", "h0", "i0")
    assert set(work.begun) == {"g0", "g1", "g2", "h0", "i0"}


async def test_who_is_cancelled_leaves_its_place_to_others() -> None:
    work = Work(FairSemaphore(each=1, waiting=10, at_once=1))
    work.ask("a0", "b0", "c0")
    await settle()
    await work.cancel(1)  # while it waits
    await work.cancel(0)  # while it works
    assert work.begun == ["a0", "c0"]


async def test_nothing_is_kept_of_parties_that_are_done() -> None:
    semaphore = FairSemaphore(each=1, waiting=10)
    for number in range(100):
        async with semaphore.slot(number):
            pass
    assert not (semaphore._under_way)
    assert not (semaphore._queues)
    assert not semaphore._turns
    assert semaphore._total_under_way == semaphore._total_waiting == 0


def test_parties_take_turns_and_the_most_urgent_work_of_each_begins_first() -> None:
    begun: list[str] = []
    queue: FairQueue[str] = FairQueue(lambda _, work: begun.append(work), each=2, at_once=3)
    for number, urgency in enumerate((2, 2, 2, 0, 1)):
        queue.add("a", urgency, f"a{number}")
    queue.add("b", 1, "b0")
    queue.add("b", 0, "b1")
    assert begun == ["a0", "a1", "b0"]
    assert len(queue) == 4
    queue.done("b")
    assert begun[3:] == ["b1"]
    queue.done("a")
    queue.done("a")
    queue.done("b")
    assert begun[4:] == ["a3", "a4"], "no more than two of one party"
    queue.done("a")
    queue.done("a")
    assert (begun[6:], len(queue)) == (["a2"], 0)


def test_an_owner_has_a_share_of_all_parties_together() -> None:
    begun: list[str] = []
    queue: FairQueue[str] = FairQueue(lambda _, work: begun.append(work), each=9, at_once=9, each_owner=2)
    for number in range(4):
        queue.add(number, number, f"greedy {number}", owner="greedy")
    queue.add(3, 5, "honest", owner="honest")
    assert begun == ["greedy 0", "greedy 1", "honest"]
    assert len(queue) == 2
    queue.add(3, 0, "greedy, urgent", owner="greedy")
    queue.done(0, "greedy")
    queue.done(1, "greedy")
    assert begun[3:] == ["greedy 2", "greedy, urgent"]
    queue.done(3, "honest")
    queue.done(2, "greedy")
    assert (begun[5:], len(queue)) == (["greedy 3"], 0)
    queue.done(3, "greedy")
    queue.done(3, "greedy")
    assert not queue._under_way
    assert not queue._under_way_of


def test_work_that_ends_at_once_is_begun_in_its_order() -> None:
    begun: list[int] = []

    def begin(party: object, work: int) -> None:
        begun.append(work)
        queue.done(party)

    queue: FairQueue[int] = FairQueue(begin, each=1, at_once=1)
    for number in range(5):
        queue.add("a", 0, number)
    assert begun == [0, 1, 2, 3, 4]
