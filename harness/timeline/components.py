"""Events from the event logs (asyncpay.log_events) of components, phones and the push gateway."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from asyncpay.log_events import LogEvent
from harness.timeline.lines import Clock, Line, Lines, number
from harness.timeline.model import Event, Kind, shortened

HELD = str(LogEvent.PART)
RESOLUTIONS = {
    str(LogEvent.RESOLVE_RESUME): "resume",
    str(LogEvent.RESOLVE_FAIL): "fail",
    str(LogEvent.RESOLVE_SETTLE): "settle",
}

_DECISIONS = frozenset(
    str(event)
    for event in (
        *(LogEvent.ACCEPTED, LogEvent.HELD, LogEvent.RELEASED, LogEvent.PAYING, LogEvent.SETTLED),
        *(LogEvent.FAILED_BACK, LogEvent.REQUESTED, LogEvent.BLOCKED, LogEvent.HANDED_OVER, LogEvent.FAILED),
        *(LogEvent.RELEASING, LogEvent.UNLOCKED, LogEvent.DUE, LogEvent.CLAIMED, LogEvent.RETURNED, LogEvent.PAID),
        *(LogEvent.TOO_LATE, LogEvent.EXPIRED, LogEvent.PART, LogEvent.WAITING_HTLC_DISPLACED),
        *(LogEvent.RESOLVE_RESUME, LogEvent.RESOLVE_FAIL, LogEvent.RESOLVE_SETTLE, LogEvent.REQUEST_REFUSED),
        *(LogEvent.PAYEE_REFUSES, LogEvent.FORCE_CLOSE, LogEvent.NOT_PAID_ON_BEHALF, LogEvent.PAY_ON_BEHALF),
        *(LogEvent.ON_BEHALF_SUCCEEDED, LogEvent.ON_BEHALF_FAILED, LogEvent.PAY, LogEvent.PAYMENT_SUCCEEDED),
        *(LogEvent.PAYMENT_FAILED, LogEvent.CANCELLING, LogEvent.CANCEL_IGNORED, LogEvent.TOO_LATE_TO_CANCEL),
        *(LogEvent.ANNOUNCEMENT_DROPPED, LogEvent.RELEASE_NOT_SENT, LogEvent.OUTCOME_NOT_KNOWN),
    )
)
_FAULTS = frozenset({str(LogEvent.WILL_CRASH), str(LogEvent.WILL_FREEZE)})
_PHONE = re.compile(r"(?:awake|asleep|frozen)|(?:stop|kill|start|crash) \w+|\w+ (?:started|ended|is killed)")
_PUSHES = frozenset({"push", "taken", "refused", "delivered"})
_HASH = re.compile(r"[0-9a-f]{64}")
_NODE_ID = re.compile(r"0[23][0-9a-f]{64}")
_HTLC = re.compile(r"(?P<channel>\d{1,8}x\d{1,8}x\d{1,5}|[0-9a-f]{64})/(?P<id>\d{1,18})")
"""An HTLC in the notation of components: the channel's short_channel_id, or its channel_id (BOLT 2)."""
_TOLD = frozenset(
    {"time", "what", "because", "error", "payment_hash", "payment_hashes", "block", "htlc", "amount_msat"}
)
"""Fields of a line that are fields of an event; the others are part of its text."""


def events(service: str, lane: str, log: bytes, names: Mapping[str, str], problems: list[str]) -> Iterator[Event]:
    """Yield the events of one service's log, without other lines. names: of nodes, by node id."""
    lines, clock = Lines(log), Clock()
    for line, said in lines.objects():
        event = of_line(service, lane, line, said, names, clock)
        if event is None:
            lines.torn += 1
        else:
            yield event
    if lines.torn:
        problems.append(f"{lines.torn} lines of {service} are incomplete or damaged, and omitted")


def of_line(
    service: str, lane: str, line: Line, said: Mapping[str, Any], names: Mapping[str, str], clock: Clock
) -> Event | None:
    """Return the event of one line; said: its JSON; clock: the log's. None if it does not name an event."""
    what = said.get("what")
    if not isinstance(what, str):
        return None
    when = clock.moment(number(said.get("time")), line.stamp)
    return Event(
        time=when.time,
        clock_offset_seconds=when.offset_seconds,
        lane=lane,
        kind=_kind(what),
        what=shortened(what),
        source=service,
        **_named(said, what, names),
    )


def _kind(what: str) -> Kind:
    if what.startswith("notify ") or what in _PUSHES:
        return Kind.PUSH
    if what in _DECISIONS:
        return Kind.DECISION
    if what in _FAULTS:
        return Kind.FAULT
    return Kind.PHONE if _PHONE.fullmatch(what) else Kind.COMPONENT


def _named(said: Mapping[str, Any], what: str, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of an event that a line contains."""
    hashes = [said.get("payment_hash"), *_list(said.get("payment_hashes"))]
    because = said.get("because", said.get("error", ""))
    htlc = _HTLC.fullmatch(str(said.get("htlc") or (because if what == HELD else "")))
    block, amount = said.get("block"), said.get("amount_msat")
    others = [f"{name} {_shown(value, names)}" for name, value in said.items() if name not in _TOLD]
    return {
        "payment_hashes": tuple(
            dict.fromkeys(each for each in hashes if isinstance(each, str) and _HASH.fullmatch(each))
        )[:500],
        "block": block if isinstance(block, str) and _HASH.fullmatch(block) else None,
        "because": "" if htlc and because == htlc[0] else shortened(because),
        "text": shortened("; ".join(others)),
        "channel": htlc["channel"] if htlc else "",
        "htlc_id": int(htlc["id"]) if htlc else None,
        "amount_msat": amount if isinstance(amount, int) and 0 <= amount < 2**63 else None,
    }


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _shown(value: object, names: Mapping[str, str]) -> str:
    """Return a value for a text; for a node id, the node's name."""
    if isinstance(value, str) and _NODE_ID.fullmatch(value):
        return names.get(value, value[:12] + "…")
    return str(value)
