"""Parts of a story: one payment, some nodes, some kinds of events."""

from collections.abc import Collection

from harness.errors import TestbedError
from harness.timeline.model import Event, Kind, Payment, Story

AROUND_SECONDS = 1.0
"""How much longer than the payment itself its surroundings are told: blocks, pushes, phones, faults, messages."""
OF_OTHERS = frozenset({Kind.DECISION, Kind.HTLC})
"""Events of these kinds that name no payment, or another one, are no surroundings."""


def payment_of(story: Story, prefix: str | None) -> Payment:
    """The payment whose hash begins like this, or the last one that began. Raises TestbedError."""
    if not story.payments:
        raise TestbedError(
            "no payment is in this story: no component and no node has named one. See it whole with --all"
        )
    if prefix is None:
        return max(story.payments, key=lambda payment: payment.first)
    found = [payment for payment in story.payments if payment.payment_hash.startswith(prefix.lower())]
    if len(found) == 1:
        return found[0]
    known = ", ".join(payment.payment_hash[:8] for payment in story.payments[-8:])
    why = (
        f"{len(found)} payments begin like this; give more digits"
        if found
        else f"there is none. The last ones: {known}"
    )
    raise TestbedError(f"payment {prefix}: {why}")


def of_payment(story: Story, payment: Payment) -> Story:
    """What names the payment, and what happened around it from its beginning to its end."""
    begin, end = payment.first - AROUND_SECONDS, payment.last + AROUND_SECONDS
    events = [event for event in story.events if _is_about(event, payment, begin, end)]
    htlcs = [htlc for htlc in story.htlcs if htlc.payment_hash == payment.payment_hash]
    return story.model_copy(update={"payments": (payment,), "events": tuple(events), "htlcs": tuple(htlcs)})


def _is_about(event: Event, payment: Payment, begin: float, end: float) -> bool:
    if payment.payment_hash in event.payment_hashes:
        return True
    return not event.payment_hashes and event.kind not in OF_OTHERS and begin <= event.time <= end


def narrowed(story: Story, nodes: Collection[str], kinds: Collection[Kind]) -> Story:
    """The events of these lanes and kinds; an empty collection means all. Raises TestbedError for no such lane."""
    known = {lane.name for lane in story.lanes}
    if unknown := set(nodes) - known:
        raise TestbedError(f"{', '.join(sorted(unknown))} is not in the story; there are: {', '.join(sorted(known))}")
    events = [event for event in story.events if matches(event, nodes, kinds)]
    return story.model_copy(update={"events": tuple(events)})


def matches(event: Event, nodes: Collection[str], kinds: Collection[Kind]) -> bool:
    """Whether an event is of these lanes and kinds, an empty collection meaning all."""
    return (not nodes or event.lane in nodes or event.to in nodes) and (not kinds or event.kind in kinds)
