"""A long timeline: a recorded run of one payment, repeated with other payment hashes, one after the other."""

from pathlib import Path

from harness.timeline import recording
from harness.timeline.model import Event, Htlc, Lane, Payment, Timeline
from harness.timeline.story import tell

RECORDING = Path(__file__).parents[1] / "unit/harness/timeline/recordings/mixed"
PAUSE_SECONDS = 5.0


def long_timeline(events: int) -> Timeline:
    """Return a timeline with this number of events, and the HTLCs, payments and absences that belong to them."""
    run = tell(recording.read(RECORDING))
    period = run.events[-1].time - run.events[0].time + PAUSE_SECONDS
    runs = [_Repeated(number, number * period) for number in range(-(-events // len(run.events)))]
    return run.model_copy(
        update={
            "testbed": "long",
            "lanes": tuple(_lane(lane, runs) for lane in run.lanes),
            "payments": tuple(each.payment(payment) for each in runs for payment in run.payments),
            "htlcs": tuple(each.htlc(htlc) for each in runs for htlc in run.htlcs),
            "events": tuple(each.event(event) for each in runs for event in run.events)[:events],
        }
    )


class _Repeated:
    """One repetition. shift: how many seconds it comes after the recorded run."""

    def __init__(self, number: int, shift: float) -> None:
        self._hash = f"{number + 1:064x}"
        self._number = number
        self.shift = shift

    def event(self, event: Event) -> Event:
        return event.model_copy(
            update={
                "time": event.time + self.shift,
                "arrived": None if event.arrived is None else event.arrived + self.shift,
                "payment_hashes": (self._hash,) if event.payment_hashes else (),
                "htlc_id": None if event.htlc_id is None else event.htlc_id + self._number,
            }
        )

    def htlc(self, htlc: Htlc) -> Htlc:
        times = {
            name: time + self.shift
            for name in ("offered", "held", "resolved", "ended")
            if (time := getattr(htlc, name)) is not None
        }
        return htlc.model_copy(update={**times, "payment_hash": self._hash, "htlc_id": htlc.htlc_id + self._number})

    def payment(self, payment: Payment) -> Payment:
        steps = tuple(step.model_copy(update={"time": step.time + self.shift}) for step in payment.steps)
        first, last = payment.first + self.shift, payment.last + self.shift
        return payment.model_copy(update={"payment_hash": self._hash, "first": first, "last": last, "steps": steps})


def _lane(lane: Lane, runs: list[_Repeated]) -> Lane:
    away = [
        span.model_copy(
            update={
                "begin": span.begin + each.shift,
                "end": None if span.end is None else span.end + each.shift,
            }
        )
        for each in runs
        for span in lane.away
    ]
    return lane.model_copy(update={"away": tuple(away)})
