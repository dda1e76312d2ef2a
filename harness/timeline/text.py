"""A story for the terminal. Untrusted text is shown literally (asyncpay.terminal)."""

import time

from rich.console import Group, RenderableType
from rich.text import Text

from asyncpay.amounts import show_sat
from asyncpay.terminal import styled
from harness.timeline.model import Event, Htlc, Kind, Payment, Timeline

STYLES = {
    Kind.DECISION: "bold cyan",
    Kind.HTLC: "bold yellow",
    Kind.ONION: "magenta",
    Kind.CUSTOM: "dim magenta",
    Kind.PUSH: "blue",
    Kind.BLOCK: "dim",
    Kind.CHAIN: "bold magenta",
    Kind.FAULT: "bold red",
    Kind.PHONE: "green",
    Kind.PEER: "dim green",
    Kind.COMPONENT: "dim",
}


def moment(seconds: float) -> str:
    """Return a time of day with milliseconds, in local time as everywhere in the testbed."""
    whole, milliseconds = divmod(round(seconds * 1_000), 1_000)
    return time.strftime("%H:%M:%S", time.localtime(whole)) + f".{milliseconds:03}"


def rendered(story: Timeline) -> Group:
    """Render payments with their steps, HTLCs with their states, then every event in one line."""
    parts: list[RenderableType] = []
    for payment in story.payments if len(story.payments) == 1 else ():
        parts += [*_payment(payment), ""]
    if story.htlcs and len(story.payments) == 1:
        parts += [*map(_life, story.htlcs), ""]
    began = story.events[0].time if story.events else 0.0
    parts += [event_line(event, event.time - began) for event in story.events]
    if not story.events:
        parts.append("No recorded event matches.")
    parts += [styled((f"incomplete: {problem}", "yellow")) for problem in story.problems]
    return Group(*parts)


def _payment(payment: Payment) -> list[RenderableType]:
    amount = "" if payment.amount_msat is None else f" of {show_sat(payment.amount_msat)}"
    lines: list[RenderableType] = [styled(("payment ", "bold"), payment.payment_hash, amount)]
    lines += [
        styled(
            f"  step {step.number}  {moment(step.time)} {step.time - payment.first:+9.3f} s  ",
            (step.lane, "bold"),
            f" {step.sentence}",
        )
        for step in payment.steps
    ]
    if not payment.steps:
        lines.append("  no step of the protocol was reached: a plain payment, or no asyncpay component has logged it")
    return lines


def _life(htlc: Htlc) -> Text:
    amount = "amount unknown" if htlc.amount_msat is None else show_sat(htlc.amount_msat)
    expiry = "" if htlc.expiry_blocks is None else f", expiry {htlc.expiry_blocks}"
    moments = [
        ("offered", htlc.offered),
        ("held", htlc.held),
        (f"resolved ({htlc.resolution})", htlc.resolved),
        (htlc.end, htlc.ended),
    ]
    lived = [f"{what} {moment(time)}" for what, time in moments if time is not None]
    return styled(
        f"  HTLC {htlc.channel or '?'}/{htlc.htlc_id}  ",
        (f"{htlc.from_lane} → {htlc.to}", "bold"),
        f"  {amount}{expiry}: {', '.join(lived)}",
        "" if htlc.end else (", in flight", "yellow"),
    )


def event_line(event: Event, since_seconds: float | None = None) -> Text:
    """Return one event in one line: its time, lane, kind and description.

    since_seconds: time since the first event; None for a live event, whose message may still arrive.
    """
    where = f"{event.lane} → {event.to}" if event.to else event.lane
    style = STYLES[event.kind]
    after = "" if since_seconds is None else f" {since_seconds:+9.3f}"
    step = f"step {event.step}: " if event.step else ""
    line = styled(
        (f"{moment(event.time)}{after}  ", "dim"),
        (f"{where:<18} ", "bold"),
        (f"{event.kind.value:<15} ", style),
        (step, "bold"),
        sentence(event, over=since_seconds is not None).replace("\n", " ").replace("\t", " "),
    )
    line.no_wrap = False
    return line


def sentence(event: Event, over: bool = True) -> str:
    """Return a description of an event with its details and reason. over: no later line can complete it."""
    htlc = "" if event.htlc_id is None or event.to else f"HTLC {event.channel}/{event.htlc_id}"
    parts = [event.what if event.what != event.text and not event.text.startswith(event.what) else ""]
    parts += [htlc, event.text]
    said = ": ".join(part for part in parts if part)
    if event.because:
        said += f" (because: {event.because})"
    if over and event.to and event.arrived is None:
        said += " (not seen to arrive)"
    if event.clock_offset_seconds is not None:
        said += f" (its own clock shows {event.clock_offset_seconds:+.1f} s)"
    return said
