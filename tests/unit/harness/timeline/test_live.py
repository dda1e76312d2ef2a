"""Events as they happen are those of the story that is told afterwards."""

import queue
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.engines.base import EngineError
from harness.errors import NodeError
from harness.folders import COMPOSE_FILE
from harness.timeline import following, recording
from harness.timeline.following import Blocks
from harness.timeline.live import Live
from harness.timeline.model import Event, Kind
from harness.timeline.on_chain import CLAIMED, COMMITMENT, TIMED_OUT
from harness.timeline.story import tell
from tests.unit.harness.played_engine import PlayedEngine, Service
from tests.unit.harness.timeline.test_on_chain import HASH, PREIMAGE, SIGNATURE, closing, ending, funding, htlc_script

RECORDINGS = Path(__file__).parent / "recordings"


def what(event: Event) -> tuple[str, str, Kind, str, int]:
    return event.lane, event.to, event.kind, event.what, event.step


@pytest.mark.parametrize("name", ["lnd", "mixed", "ldk"])
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


def test_a_testbed_is_followed_until_another_one_has_its_name(tmp_path: Path) -> None:
    """It was removed and brought up again within a second, so its folder was there at each check."""
    seen = tell(recording.read(RECORDINGS / "lnd")).events[0]
    (tmp_path / COMPOSE_FILE).touch()
    testbed, followed = SimpleNamespace(folder=tmp_path), SimpleNamespace(events=queue.Queue(), over=threading.Event())
    for _ in range(3):
        followed.events.put(seen)
    events = following._events(testbed, followed)  # type: ignore[arg-type]
    assert next(events) == seen
    (tmp_path / "new").touch()
    (tmp_path / "new").replace(tmp_path / COMPOSE_FILE)
    assert list(events) == []
    assert followed.over.is_set()


def test_closes_and_claims_are_told_when_their_block_arrives() -> None:
    live = Live(recording.read(RECORDINGS / "mixed").context)
    live.add_earlier([funding()])
    (close,) = live.block([closing()], 7.5)
    assert (close.kind, close.what, close.channel, close.time) == (Kind.CHAIN, COMMITMENT, "131x4x1", 7.5)
    (claim,) = live.block([ending(SIGNATURE, PREIMAGE, htlc_script(HASH))], 8.5)
    assert (claim.what, claim.payment_hashes, claim.time) == (CLAIMED, (HASH,), 8.5)


def test_an_htlc_that_times_out_is_known_by_the_hash_that_a_log_has_named() -> None:
    expired = ending(SIGNATURE, "", htlc_script(HASH), locktime=500)
    named = b'2026-11-27T19:10:40.000000000Z {"time": 1, "what": "held", "payment_hash": "%s"}' % HASH.encode()
    for lines, hashes in (((), ()), ((named,), (HASH,))):
        live = Live(recording.read(RECORDINGS / "mixed").context)
        for line in lines:
            live.line("LSP_a-lsp", line)
        live.add_earlier([funding(), closing()])
        assert [(event.what, event.payment_hashes) for event in live.block([expired], 1.0)] == [(TIMED_OUT, hashes)]


class PlayedTestbed:
    """Its bitcoind has blocks without transactions, and answers unless it is `down`. `asked`: the blocks."""

    def __init__(self) -> None:
        self.down = False
        self.asked: list[str] = []

    @property
    def chain(self) -> "PlayedTestbed":
        return self

    def forget_chain(self) -> None:
        self.asked.append("reconnect")

    def call(self, method: str, *arguments: Any) -> Any:
        if self.down:
            raise NodeError("bitcoind does not answer")
        if method == "getbestblockhash":
            return "best"
        self.asked.append(arguments[0])
        return {"height": 1, "time": 5, "tx": [{"txid": "cb" * 32}], "previousblockhash": ""}


def tip(number: int) -> bytes:
    said = f"UpdateTip: new best={number:064x} height={number} version=0x20000000"
    return f"2026-11-27T19:10:40.000000000Z 2026-11-27T19:10:40Z {said}".encode()


def test_each_block_is_read_once_also_when_a_reorganisation_names_it_again() -> None:
    testbed, earlier = PlayedTestbed(), list[int]()
    blocks = Blocks(testbed, lambda mined: earlier.append(len(mined)))  # type: ignore[arg-type]
    for line in (tip(1), tip(2), tip(1), tip(3), b"torn", tip(4)[:-60]):
        for _, arrived in blocks.of_line(line):
            assert arrived == 1795806640.0
    assert testbed.asked == ["best", *(f"{number:064x}" for number in (1, 2, 3))]
    assert earlier == [0], "the earlier blocks are read once"


def test_a_block_that_bitcoind_did_not_return_comes_with_the_next_one() -> None:
    testbed = PlayedTestbed()
    blocks = Blocks(testbed, lambda mined: None)  # type: ignore[arg-type]
    testbed.down = True
    assert list(blocks.of_line(tip(1))) == []
    testbed.down = False
    assert len(list(blocks.of_line(tip(2)))) == 2
    assert testbed.asked == ["reconnect", "best", f"{1:064x}", f"{2:064x}"]
