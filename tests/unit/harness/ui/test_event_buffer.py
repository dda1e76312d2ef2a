"""Any number of readers get every event once, in order, and wait for the next one."""

import asyncio
import threading

from hypothesis import given
from hypothesis import strategies as st

from harness.timeline.model import Event, Kind
from harness.ui.event_buffer import EventBuffer


def event(number: int) -> Event:
    return Event(time=float(number), lane="A", kind=Kind.HTLC, what=str(number))


def numbers(events: list[Event]) -> list[int]:
    return [int(each.what) for each in events]


@given(st.lists(st.integers(0, 7), max_size=12), st.integers(1, 9), st.integers(1, 5))
def test_each_reader_sees_all_that_is_kept_in_order(batches: list[int], kept: int, most: int) -> None:
    buffer = EventBuffer(kept)
    written, after = 0, 0
    read: list[int] = []

    def take() -> bool:
        nonlocal after
        _, after, found = buffer.after(after, most)
        read.extend(numbers(found))
        return bool(found)

    for size in batches:
        buffer.add(event(written + each + 1) for each in range(size))
        written += size
        take()
    while take():
        pass
    assert after == written
    assert read == sorted(set(read))
    assert read[-min(kept, written) :] == list(range(written - min(kept, written) + 1, written + 1))


def test_what_is_forgotten_shows_in_the_number() -> None:
    buffer = EventBuffer(2)
    buffer.add(event(each) for each in (1, 2, 3, 4, 5))
    _, last, found = buffer.after(1, 10)
    assert (last, numbers(found), last - len(found) - 1) == (5, [4, 5], 2)


def test_a_number_of_another_run_begins_anew() -> None:
    buffer = EventBuffer()
    buffer.add([event(1)])
    assert buffer.after(77, 10) == (0, 1, [event(1)])


def test_a_new_run_has_its_own_events_and_numbers_go_on() -> None:
    buffer = EventBuffer()
    buffer.begin_anew([event(1), event(2)])
    first_run, last, _ = buffer.after(0, 10)
    buffer.begin_anew([event(7)])
    run, last, found = buffer.after(last, 10)
    assert (run != first_run, last, numbers(found)) == (True, 3, [7])
    assert numbers(buffer.after(0, 10)[2]) == [7], "a reader that begins now"
    buffer.add([event(8)])
    assert buffer.after(last, 10) == (run, 4, [event(8)])


def test_who_waits_is_woken_by_a_new_run_without_events() -> None:
    async def play() -> None:
        buffer = EventBuffer()
        buffer.add([event(1)])
        waiting = asyncio.create_task(buffer.wait_beyond(1, 60))
        await asyncio.sleep(0)
        buffer.begin_anew([])
        await waiting

    asyncio.run(asyncio.wait_for(play(), 30))


def test_who_waits_is_woken_by_another_thread() -> None:
    async def play() -> list[int]:
        buffer = EventBuffer()
        waiting = [asyncio.create_task(buffer.wait_beyond(0, 60)) for _ in range(2)]
        await asyncio.sleep(0)
        threading.Thread(target=buffer.add, args=([event(1)],)).start()
        await asyncio.gather(*waiting)
        return numbers(buffer.after(0, 10)[2])

    assert asyncio.run(asyncio.wait_for(play(), 30)) == [1]


def test_nobody_waits_once_it_is_closed() -> None:
    async def play() -> None:
        buffer = EventBuffer()
        waiting = asyncio.create_task(buffer.wait_beyond(0, 60))
        await asyncio.sleep(0)
        buffer.close()
        await waiting
        await buffer.wait_beyond(0, 60)

    asyncio.run(asyncio.wait_for(play(), 30))


def test_the_time_is_over_without_an_event() -> None:
    asyncio.run(asyncio.wait_for(EventBuffer().wait_beyond(0, 0.01), 30))
