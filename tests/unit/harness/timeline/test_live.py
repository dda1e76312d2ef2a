"""Events as they happen are those of the story that is told afterwards."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.engines.base import EngineError
from harness.timeline import following, recording
from harness.timeline.live import Live
from harness.timeline.model import Event, Kind
from harness.timeline.story import tell
from tests.unit.harness.played_engine import PlayedEngine, Service

RECORDINGS = Path(__file__).parent / "recordings"


def what(event: Event) -> tuple[str, str, Kind, str, int]:
    return event.lane, event.to, event.kind, event.what, event.step


@pytest.mark.parametrize("name", ["lnd", "mixed"])
def test_they_are_those_of_the_story(name: str) -> None:
    recorded = recording.read(RECORDINGS / name)
    live = Live(recorded.context)
    lines = sorted(
        (line, service) for service, log in recorded.logs.items() for line in log.splitlines() if line.startswith(b"2")
    )
    events = [event for line, service in lines if (event := live.line(service, line))]
    events += [event for line in recorded.actions.splitlines() if (event := live.action(line))]
    story = tell(recorded)
    told = Counter(what(event) for event in story.events if event.kind is not Kind.BLOCK)
    assert Counter(what(event) for event in events if event.kind is not Kind.BLOCK) == told
    heights = [event.height_blocks for event in events if event.kind is Kind.BLOCK]
    last = max(event.height_blocks or 0 for event in story.events)
    assert heights == list(range(91, last + 1)), "live, each block is an event"
    hashes = {payment_hash for event in events if event.kind is Kind.HTLC for payment_hash in event.payment_hashes}
    assert hashes == {story.payments[0].payment_hash}


def test_damaged_lines_tell_nothing() -> None:
    live = Live(recording.read(RECORDINGS / "mixed").context)
    stamp = b"2026-11-27T19:10:40.000000000Z "
    for line in (b"", b"no time", stamp, stamp + b'{"what"', stamp + b"[]", stamp + b'{"what": 7}', b"\xff" * 50):
        assert live.line("LSP_a-lsp", line) is None
        assert live.action(line) is None
    assert live.line("unheard-of", stamp + b'{"what": "held"}') is None


class Restarting(PlayedEngine):
    """Its service prints two lines and ends, is away once, and begins again: what was printed comes again."""

    def __init__(self, over: threading.Event) -> None:
        super().__init__({"x": Service()})
        self.lives = 0
        self._over = over

    def follow_logs(
        self, service: str, *, stderr: bool = True, tail: int | None = None, since_seconds: float | None = None
    ) -> Iterator[bytes]:
        self.lives += 1
        if self.lives == 2:
            raise EngineError("testbed x has no container for x; is it up?")
        yield from (b"2026-11-27T19:10:4%d.000000000Z line %d\n" % (n, n) for n in range(self.lives * 2))
        yield b"2026-11-27T19:10:49.000000000Z to"  # torn when it was killed
        if self.lives == 3:
            self._over.set()


def test_a_service_that_ends_is_followed_again_and_no_line_is_told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "AGAIN_SECONDS", 0)
    over = threading.Event()
    engine = Restarting(over)
    lines = [line.partition(b" ")[2] for line in following.new_lines(engine, "x", over)]
    assert lines == [b"line %d" % number for number in range(6)]
    assert engine.lives == 3
