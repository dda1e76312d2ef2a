"""Blocks, from bitcoind's log: `UpdateTip: new best=HASH height=N ..`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from harness.timeline.lines import Line, Lines
from harness.timeline.model import Event, Kind

LANE = "bitcoind"
TOGETHER_SECONDS = 1.0
"""Blocks within this interval are one event: a test mines hundreds."""
_TIP = re.compile(r".{0,40}UpdateTip: new best=(?P<hash>[0-9a-f]{64}) height=(?P<height>\d{1,9}) ")


@dataclass
class _Run:
    first: int
    height: int
    began: float
    last: float
    because: str

    def event(self) -> Event:
        text = f"block {self.height}" if self.first == self.height else f"blocks {self.first} to {self.height}"
        return Event(
            time=self.began,
            lane=LANE,
            kind=Kind.BLOCK,
            what="block",
            text=text,
            because=self.because,
            source=LANE,
            height_blocks=self.height,
        )


def of_line(line: Line) -> Event | None:
    """Return the event of one line; None if it is not about a block."""
    if (found := _TIP.match(line.text)) is None:
        return None
    height = int(found["height"])
    return _Run(height, height, line.stamp, line.stamp, "").event()


def block_hash(line: Line) -> str | None:
    """Return the hash of the block that a line names as the best one; None if it is not about a block."""
    found = _TIP.match(line.text)
    return found["hash"] if found else None


def tips(log: bytes) -> dict[int, float]:
    """When each block arrived (Unix seconds), by its height; of a height that was replaced, the last one."""
    found = ((line.stamp, _TIP.match(line.text)) for line in Lines(log))
    return {int(tip["height"]): stamp for stamp, tip in found if tip}


def events(log: bytes) -> Iterator[Event]:
    """Yield one event for each block, or for a series of blocks."""
    run: _Run | None = None
    highest = -1
    for line in Lines(log):
        if (found := _TIP.match(line.text)) is None:
            continue
        height = int(found["height"])
        if run and height == run.height + 1 and line.stamp - run.last < TOGETHER_SECONDS:
            run.height, run.last = height, line.stamp
        else:
            if run:
                yield run.event()
            because = "reorganisation: this height had another block before" if height <= highest else ""
            run = _Run(height, height, line.stamp, line.stamp, because)
        highest = max(highest, height)
    if run:
        yield run.event()
