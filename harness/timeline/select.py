"""Parts of a story: one payment, some nodes, some kinds of events."""

from collections.abc import Collection

from harness.errors import TestbedError
from harness.timeline.model import Event, Kind, Payment, Timeline

AROUND_SECONDS = 1.0
"""How long before and after the payment other events are included: blocks, pushes, phones, faults, messages."""
OF_OTHERS = frozenset({Kind.DECISION, Kind.HTLC})
"""Events of these kinds are not included if they name no payment, or another one."""


def payment_of(story: Timeline, prefix: str | None) -> Payment:
    """Return the payment with this prefix of its hash, or the payment that began last. Raises TestbedError."""
    if not story.payments:
        raise TestbedError(
            "there is no payment in this timeline: no component and no node has logged one. Show all events with --all"
        )
    if prefix is None:
        return max(story.payments, key=lambda payment: payment.first)
    found = [payment for payment in story.payments if payment.payment_hash.startswith(prefix.lower())]
    if len(found) == 1:
        return found[0]
    known = ", ".join(payment.payment_hash[:8] for payment in story.payments[-8:])
    why = (
        f"{len(found)} payments have a hash with this prefix; give more digits"
        if found
        else f"there is none. The last ones: {known}"
    )
    raise TestbedError(f"payment {prefix}: {why}")


def of_payment(story: Timeline, payment: Payment) -> Timeline:
    """Return the events that name the payment, and other events between its start and its end."""
    begin, end = payment.first - AROUND_SECONDS, payment.last + AROUND_SECONDS
    events = [event for event in story.events if _is_about(event, payment, begin, end)]
    htlcs = [htlc for htlc in story.htlcs if htlc.payment_hash == payment.payment_hash]
    return story.model_copy(update={"payments": (payment,), "events": tuple(events), "htlcs": tuple(htlcs)})


def _is_about(event: Event, payment: Payment, begin: float, end: float) -> bool:
    if payment.payment_hash in event.payment_hashes:
        return True
    return not event.payment_hashes and event.kind not in OF_OTHERS and begin <= event.time <= end


def narrowed(story: Timeline, nodes: Collection[str], kinds: Collection[Kind]) -> Timeline:
    """Return the events of these lanes and kinds; an empty collection means all. Raises TestbedError (unknown lane)."""
    known = {lane.name for lane in story.lanes}
    if unknown := set(nodes) - known:
        raise TestbedError(
            f"{', '.join(sorted(unknown))} is not in the timeline. Choose from: {', '.join(sorted(known))}"
        )
    events = [event for event in story.events if matches(event, nodes, kinds)]
    return story.model_copy(update={"events": tuple(events)})


def matches(event: Event, nodes: Collection[str], kinds: Collection[Kind]) -> bool:
    """Return whether an event has one of these lanes and kinds; an empty collection means all."""
    return (not nodes or event.lane in nodes or event.to in nodes) and (not kinds or event.kind in kinds)
