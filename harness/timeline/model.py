"""The parts of a story, and its JSON: see docs/timeline.md, which uses the same names."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import TestbedError

SCHEMA_VERSION = 1
"""Raised whenever a field changes its meaning or is removed; new fields do not raise it."""
MOST_TEXT = 500
"""A longer text is truncated, whatever its source."""
MOST_EVENTS = 1_000_000


class Kind(StrEnum):
    """The kind of an event."""

    DECISION = "decision"
    HTLC = "htlc"
    ONION = "onion message"
    CUSTOM = "custom message"
    PUSH = "push"
    BLOCK = "block"
    CHAIN = "on chain"
    FAULT = "fault"
    PHONE = "phone"
    PEER = "connection"
    COMPONENT = "component"


def shortened(text: object) -> str:
    """Return a text truncated to MOST_TEXT, without lone surrogates, which JSON can represent and UTF-8 cannot."""
    said = str(text)[: MOST_TEXT + 1].encode(errors="replace").decode()
    return said if len(said) <= MOST_TEXT else said[: MOST_TEXT - 1] + "…"


Text = Annotated[str, Field(max_length=MOST_TEXT)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seconds = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Event(_Record):
    """One event. Times are Unix seconds by the clock of the machine that the testbed runs on.

    lane: the node where it happened (a phone or an LSP includes its component); or bitcoind, push, testbed.
    what: its name in the BOLTs, components or testbed commands. text: a sentence. because: the reason that the
    component has logged. source: the service whose log contains it.
    to, arrived: of a message, the lane that received it, and when; `arrived` is None if no log has it.
    channel, htlc_id: identify an HTLC, with `lane` and `to` as the ends of its channel.
    step: the number of the protocol's step that this event completes; 0: none.
    clock_offset_seconds: the offset of the source's own clock from the machine's, if its time was not used.
    """

    time: Seconds
    lane: Text
    kind: Kind
    what: Text
    text: Text = ""
    because: Text = ""
    source: Text = ""
    to: Text = ""
    arrived: Seconds | None = None
    payment_hashes: tuple[Hash, ...] = Field(default=(), max_length=500)
    block: Hash | None = None
    channel: Text = ""
    htlc_id: int | None = None
    amount_msat: int | None = None
    expiry_blocks: int | None = None
    height_blocks: int | None = None
    step: int = Field(default=0, ge=0, le=8)
    clock_offset_seconds: Annotated[float, Field(allow_inf_nan=False)] | None = None


class Htlc(_Record):
    """One HTLC on one hop; a time is None if that state was not reached, or no log has it.

    from_lane offers it to `to`. held, resolved, resolution: by the component of the node that received it.
    end: `settled`, `failed`, `claimed on chain`, `timed out on chain`; empty while it is in flight.
    """

    from_lane: Text
    to: Text
    channel: Text
    htlc_id: int
    payment_hash: Hash | None = None
    amount_msat: int | None = None
    expiry_blocks: int | None = None
    offered: Seconds | None = None
    held: Seconds | None = None
    resolved: Seconds | None = None
    resolution: Text = ""
    ended: Seconds | None = None
    end: Text = ""


class Step(_Record):
    """A step of the protocol that a payment has reached: its lane, time and description."""

    number: int
    lane: Text
    time: Seconds
    sentence: Text


class Payment(_Record):
    """A payment that a component's or a node's log has named. unblock_hash: of its block, if it has one.


    first, last: the times of the first and the last event that name it.
    """

    payment_hash: Hash
    unblock_hash: Hash | None = None
    amount_msat: int | None = None
    first: Seconds
    last: Seconds
    steps: tuple[Step, ...] = ()


class Span(_Record):
    """A time span; end is None if it is not over. why: the reason, such as `disconnected`."""

    begin: Seconds
    end: Seconds | None = None
    why: Text = ""


class Lane(_Record):
    """One row of the story. kind: payer, lsp, router, payee, or service. runs: the implementation, such as `lnd`.

    away: the times at which a phone was unreachable.
    """

    name: Text
    kind: Text
    runs: Text = ""
    away: tuple[Span, ...] = ()


class Timeline(_Record):
    """The whole timeline. problems: the logs that could not be read, and the consequences for the story."""

    version: int = SCHEMA_VERSION
    testbed: Text
    topology: Text = ""
    lanes: tuple[Lane, ...] = ()
    payments: tuple[Payment, ...] = ()
    htlcs: tuple[Htlc, ...] = ()
    events: tuple[Event, ...] = Field(default=(), max_length=MOST_EVENTS)
    problems: tuple[Text, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the output of `--json`: fields with their default are omitted, except the version."""
        return {"version": self.version, **self.model_dump(mode="json", exclude_defaults=True)}

    def as_json_bytes(self) -> bytes:
        """Return the same as UTF-8, without spaces."""
        others = self.model_dump_json(exclude_defaults=True).removeprefix("{")
        return f'{{"version":{self.version},{others}'.encode()


def read_story(content: bytes, name: str) -> Timeline:
    """Parse a story from its JSON. Raises TestbedError; name: of the file, for its message."""
    try:
        story = Timeline.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise TestbedError(
            f"{name} is not a timeline: {place}: {first['msg']}. Make one with `testbed timeline --json`"
        ) from None
    if story.version != SCHEMA_VERSION:
        raise TestbedError(
            f"{name} cannot be read: it has version {story.version} of the format, and this release reads "
            f"{SCHEMA_VERSION}. Read it with the release that wrote it"
        )
    return story
