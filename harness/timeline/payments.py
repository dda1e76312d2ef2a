"""The payments of a story, and the protocol's steps that each has reached."""

from dataclasses import dataclass, field

from harness.timeline.model import Event, Payment, Step
from harness.timeline.steps import STEPS, Role
from harness.topology import COMPONENT_SUFFIX

_OF_LSP = (Role.PAYER_LSP, Role.PAYEE_LSP)


@dataclass
class _Known:
    payment_hash: str
    first: float
    last: float
    block: str | None = None
    amount_msat: int | None = None
    steps: dict[int, Step] = field(default_factory=dict)


class Payments:
    """Collects payments from the events, in order. A component names a payment by its hash, its block, or both."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._of_block: dict[str, tuple[str, ...]] = {}

    def take(self, event: Event) -> Event:
        """Return the event with the payment hashes of its block, and the step that it completes."""
        if event.block:
            if event.payment_hashes:
                self._of_block.setdefault(event.block, event.payment_hashes)
            else:
                event = event.model_copy(update={"payment_hashes": self._of_block.get(event.block, ())})
        number = 0
        for payment_hash in event.payment_hashes:
            known = self._known.setdefault(payment_hash, _Known(payment_hash, event.time, event.time))
            known.last = event.time
            known.block = known.block or event.block
            number = self._step(known, event) or number
            if event.what == "pay" and event.amount_msat is not None:
                known.amount_msat = event.amount_msat
        return event.model_copy(update={"step": number}) if number else event

    @staticmethod
    def _step(known: _Known, event: Event) -> int:
        """Return the number of the step for which this is the first event; 0 if there is none."""
        of_lsp = event.source.endswith(COMPONENT_SUFFIX)
        for step in STEPS:
            said = any(event.what in words and (role in _OF_LSP) == of_lsp for role, words in step.seen_as.items())
            if said and event.source in (event.lane, event.lane + COMPONENT_SUFFIX) and not event.to:
                if step.number in known.steps:
                    return 0
                known.steps[step.number] = Step(
                    number=step.number, lane=event.lane, time=event.time, sentence=step.sentence
                )
                return step.number
        return 0

    def all(self) -> list[Payment]:
        """Return all payments in the order in which they began."""
        return [
            Payment(
                payment_hash=known.payment_hash,
                unblock_hash=known.block,
                amount_msat=known.amount_msat,
                first=known.first,
                last=known.last,
                steps=tuple(known.steps[number] for number in sorted(known.steps)),
            )
            for known in self._known.values()
        ]
