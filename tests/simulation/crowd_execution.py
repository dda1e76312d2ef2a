"""Run a crowd: disturbances, a calm phase in which every payment that can succeed must, the end of every hold, and then
nothing of any payment may remain.
The invariants are those of one payment, for every payment and HTLC, and those that only many can break. They are
checked every CHECK_SECONDS of virtual time and not after every step, because each check examines everything.
"""

import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from asyncpay.engine.lsp.records import Attempt, Block, Delivered, Htlc, StoredMessage
from asyncpay.engine.lsp.states import FINISHED as FINISHED_BLOCKS
from asyncpay.engine.lsp.states import State, Trigger
from asyncpay.engine.payer.states import FINISHED
from asyncpay.engine.payer.states import State as PaymentState
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import Resolution
from asyncpay.wire.messages import BlockStatus

from . import invariants
from .channels import FEE_MSAT
from .crowd import LOOK_SECONDS, Crowd, CrowdInjector, CrowdPayment, CrowdSetup
from .invariants import Violation
from .losses import forwarded_and_failed
from .process import INEXACT_SECONDS
from .runner import Failure, Summary

CHECK_SECONDS = 0.5
CALM_SECONDS = 700.0
"""Until every process runs again and every late message has arrived."""
PATIENCE_SECONDS = 1300.0
"""Twice the longest interval of a retransmit."""
HASTE_SECONDS = 30.0
MOST_BLOCKS = 400
FORGOTTEN_BLOCKS = 320
"""The time after the last hold has ended: every deadline, and a day of blocks after every expiry."""
BLOCK_SECONDS = 600.0
DAY_SECONDS = 86_400.0
KEPT = (
    "LspState.schedule.couriers._paused_until.",  # the last next hops, dropped with the next courier
    "LspState.records.totals.blocks",  # a number for each state
    "LspState.schedule._records.totals.blocks",
)
"""Containers that do not grow with finished payments, although a restart frees some of their entries."""


@dataclass(frozen=True)
class CrowdOutcome:
    """The outcome of a run. paid: payments. disturbances: injected."""

    number: int
    setup: CrowdSetup
    violation: Violation | None
    steps: int
    paid: int
    disturbances: int
    trace: tuple[tuple[float, str, str], ...]


def run_crowd(number: int, payments: int, *, with_trace: bool = False) -> CrowdOutcome:
    """Run the crowd with this number, with this many payments."""
    random = Random(number)
    setup = CrowdSetup.draw(random, payments)
    injector = CrowdInjector(random, setup.chance)
    crowd = Crowd(setup, random, with_trace=with_trace)
    injector.crowd = crowd
    crowd.kernel.injector = injector
    violation = None
    try:
        _run(crowd, injector)
    except Violation as found:
        violation = found
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__} in {where.name}, {Path(where.filename).name} line {where.lineno}: {error}"
        violation = Violation("nothing_breaks_down", text)
    finally:
        crowd.close()
    return CrowdOutcome(
        number=number,
        setup=setup,
        violation=violation,
        steps=crowd.kernel.steps,
        paid=sum(bool(payment.invoice.times_paid) for payment in crowd.payments.values()),
        disturbances=len(injector.injected),
        trace=tuple(crowd.kernel.trace or ()),
    )


def run_crowds(
    numbers: range, payments: int, *, stop_at_first: bool = False, progress: Callable[[Summary], None] = lambda _: None
) -> Summary:
    """Run these crowds in this process."""
    total, began = Summary(), time.monotonic()
    for number in numbers:
        outcome = run_crowd(number, payments)
        total.schedules += 1
        total.steps += outcome.steps
        total.paid += outcome.paid
        total.disturbances += outcome.disturbances
        total.seconds = time.monotonic() - began
        if outcome.violation is not None:
            total.failures.append(Failure(number, outcome.violation.invariant, str(outcome.violation)))
            if stop_at_first:
                break
        progress(total)
    return total


# --- the phases ---


def _run(crowd: Crowd, injector: CrowdInjector) -> None:
    _advance(crowd, crowd.setup.within_seconds + crowd.setup.turbulence_seconds)
    injector.calm, crowd.hurried = True, False
    _what_can_succeed_does(crowd)
    _everything_ends(crowd)
    _the_books_agree(crowd)
    _nothing_is_left(crowd)


def _advance(crowd: Crowd, seconds: float, every: float = CHECK_SECONDS) -> None:
    end = crowd.kernel.now + seconds
    while crowd.kernel.now < end:
        crowd.run_for(min(every, end - crowd.kernel.now))
        for invariant in INVARIANTS:
            for text in invariant(crowd):
                raise Violation(invariant.__name__, text)


def _what_can_succeed_does(crowd: Crowd) -> None:
    """Every phone comes online for a minute, and again after the longest interval of a retransmit; then every payment
    that was held in time and not cancelled is paid.

    Once is not enough: a phone on CLN with several payments gets its LSP's answers and its mailbox together, faster
    than the 4 messages per second that CLN accepts from a peer. Dropped ones arrive with the payer's retransmit.
    """
    _advance(crowd, CALM_SECONDS)
    expected = [payment for payment in crowd.payments.values() if _can_succeed(crowd, payment)]
    for patience in (10.0, PATIENCE_SECONDS, 10.0, PATIENCE_SECONDS):
        for phone in crowd.phones.values():
            phone.wakes_after, phone.stays = 2.0, LOOK_SECONDS
            phone.wake(LOOK_SECONDS)
        _advance(crowd, LOOK_SECONDS + patience)
    unpaid = [payment.number for payment in expected if not payment.invoice.times_paid]
    if unpaid:
        raise Violation("what_can_succeed_does", f"payments {unpaid} of {len(expected)} that were held are not paid")


def _can_succeed(crowd: Crowd, payment: CrowdPayment) -> bool:
    stored, block = payment.stored, _block(payment)
    if stored is None or block is None or payment.cancelled or not payment.willing or stored.cancelled:
        return False
    soon = crowd.kernel.now + 2 * (2 * LOOK_SECONDS + PATIENCE_SECONDS + 60)
    in_time = soon < block.hold_until and crowd.chain.height + 8 < block.release_by_height
    waits = block.state in (State.HELD, State.DUE) and stored.state in (PaymentState.HELD, PaymentState.HANDED_OVER)
    return in_time and waits


def _everything_ends(crowd: Crowd) -> None:
    for number in range(MOST_BLOCKS):
        if _over(crowd):
            return
        if number % 10 == 0:
            for phone in crowd.phones.values():
                phone.wake(LOOK_SECONDS)
        crowd.chain.mine()
        _advance(crowd, HASTE_SECONDS)
    raise Violation("everything_ends", f"after {MOST_BLOCKS} blocks HTLCs or payments are left")


def _over(crowd: Crowd) -> bool:
    if any(channel.htlcs for channel in crowd.chain.channels):
        return False
    if any(payment.stored is not None and payment.stored.state not in FINISHED for payment in crowd.payments.values()):
        return False
    return all(
        block.state in FINISHED_BLOCKS or block.state is State.RELEASED
        for lsp in crowd.lsps
        for block in lsp.records(Block)
    )


def _the_books_agree(crowd: Crowd) -> None:
    """Every payment is paid or returned, both of its ends know the outcome, and no node between them has lost money."""
    most: Counter[str] = Counter()
    least: Counter[str] = Counter()
    for payment in crowd.payments.values():
        paid, stored = bool(payment.invoice.times_paid), payment.stored
        if stored is not None and (stored.state is PaymentState.SETTLED) != paid:
            raise Violation(
                "the_books_agree", f"payment {payment.number}: paid is {paid}, its payer's wallet: {stored.state}"
            )
        if paid:
            least[payment.payer.name] -= payment.most_msat
            most[payment.payer.name] -= payment.invoice.invoice.amount_msat or 0
            for counter in (least, most):
                counter[payment.payee.name] += payment.invoice.paid_msat
    for node in crowd.chain.nodes:
        gain = crowd.worth(node) - crowd.balances_at_start[node.name]
        between = node.name not in crowd.lsp_of
        if gain < least[node.name] or (not between and gain > most[node.name]):
            raise Violation("the_books_agree", f"{node.name} is {gain} msat richer")


def _nothing_is_left(crowd: Crowd) -> None:
    """Days later an LSP has no record of a payment; a restart frees nothing, so no index grows with ended payments."""
    for _ in range(FORGOTTEN_BLOCKS):
        crowd.chain.mine()
        _advance(crowd, BLOCK_SECONDS, every=BLOCK_SECONDS)
    messages = [message for lsp in crowd.lsps for message in lsp.records(StoredMessage)]
    if messages:  # a retransmit after its phone's last connection: it is kept for two weeks
        arrived_at = max(message.arrived_at for message in messages)
        _advance(crowd, arrived_at + LspPolicy().mailbox_seconds + 1 - crowd.kernel.now, every=DAY_SECONDS)
    for lsp in crowd.lsps:
        for kind in (Block, Htlc, Attempt, StoredMessage, Delivered):
            if left := len(lsp.records(kind)):
                raise Violation("nothing_is_left", f"{lsp.name} remembers {left} records: {kind.__name__}")
    before = [sizes(lsp.engine_state) for lsp in crowd.lsps]
    for lsp in crowd.lsps:
        lsp.crash(1.0)
    _advance(crowd, BLOCK_SECONDS)
    for lsp, old in zip(crowd.lsps, before, strict=True):
        new = sizes(lsp.engine_state)
        more = (place for place in old if old[place] > new[place] and not place.startswith(KEPT))
        grown = {place: (old[place], new[place]) for place in more}
        if grown:
            raise Violation("nothing_is_left", f"{lsp.name} had more in memory than after a restart: {grown}")


def sizes(value: Any) -> Counter[str]:
    """Count the entries of each container within an engine's state, by its place."""
    found: Counter[str] = Counter()

    def walk(each: Any, place: str) -> None:
        if isinstance(each, (str, bytes, int, float, type(None))):
            return
        if isinstance(each, dict):
            found[place] += len(each)
            for inner in each.values():
                walk(inner, f"{place}[]")
        elif hasattr(each, "__len__") and hasattr(each, "__iter__"):
            found[place] += len(each)
        elif is_dataclass(each):
            for one in fields(each):
                walk(getattr(each, one.name), f"{place}.{one.name}")
        elif hasattr(each, "__dict__"):
            for name, inner in vars(each).items():
                walk(inner, f"{place}.{name}")

    walk(value, type(value).__name__)
    return found


# --- what must hold at any time ---


def _block(payment: CrowdPayment) -> Block | None:
    stored = payment.stored
    return None if stored is None else payment.lsp.record(Block, sha256(payment.pid).digest())


def no_lsp_pays_out_what_it_cannot_claim(crowd: Crowd) -> Iterator[str]:
    """For each payment separately, an LSP can claim what it forwarded or paid."""
    for lsp in crowd.lsps:
        yield from forwarded_and_failed(lsp)
    for payment in crowd.payments.values():
        own = payment.lsp.node.payments.known.get(payment.payment_hash)
        if own is not None:
            spent = sum(htlc.amount_msat for htlc in own.htlcs if not htlc.failed)
            covered = sum(each.amount_msat - FEE_MSAT for each in payment.htlcs() if each.arrived and not each.failed)
            if spent > covered:
                yield f"{payment.lsp.name} pays {spent} msat for payment {payment.number}, and can claim {covered}"


def every_payment_is_made_once(crowd: Crowd) -> Iterator[str]:
    """Once by its payer, for its own preimage; and its payee gets the full amount."""
    for payment in crowd.payments.values():
        htlcs, invoice = payment.htlcs(), payment.invoice
        at_stake = sum(htlc.amount_msat for htlc in htlcs if not htlc.failed)
        if at_stake > payment.most_msat:
            yield f"payment {payment.number} has {at_stake} msat at stake"
        for htlc in htlcs:
            if htlc.preimage is not None and (htlc.preimage != payment.preimage or not invoice.times_paid):
                yield f"a part of payment {payment.number} was taken, and not for the money of its own payee"
        if invoice.times_paid > 1 or (invoice.times_paid and invoice.paid_msat < (invoice.invoice.amount_msat or 0)):
            yield f"invoice {payment.number} was paid {invoice.times_paid} times, {invoice.paid_msat} msat"


def a_part_counts_for_its_own_set(crowd: Crowd) -> Iterator[str]:
    """A block holds only HTLCs of its own client and hash, is complete by these, and is released as a whole or not."""
    for lsp in crowd.lsps:
        parts: dict[bytes, list[Htlc]] = defaultdict(list)
        for record in lsp.records(Htlc):
            if record.block is not None:
                parts[record.block].append(record)
        for block in lsp.records(Block):
            own = parts[block.key]
            for part in own:
                if part.htlc.peer != block.client or part.htlc.payment_hash not in block.payment_hashes:
                    yield f"HTLC {part.key} is held for a block of another payment or client"
            complete = block.state in (State.HELD, State.DUE, State.PAYING, State.RELEASED)
            if complete and sum(part.htlc.outgoing_amount_msat for part in own) < block.amount_msat:
                yield f"a set of {block.amount_msat} msat counts as complete, by parts that are not its own"
            going = [part for part in own if part.resolution in (Resolution.RESUME, Resolution.SETTLE)]
            if going and any(part.resolution is None and not part.gone for part in own):
                yield "some parts of a set were released, and others are still held"


def only_its_own_pid_releases(crowd: Crowd) -> Iterator[str]:
    """No part of a payment is forwarded before its own payee has sent its own pid."""
    for payment in crowd.payments.values():
        if payment.pid in payment.payee.wallet.shown:
            continue
        lsp = payment.lsp
        for htlc in payment.htlcs():
            if htlc.key in lsp.node.circuits and htlc.key in lsp.joined:
                yield f"payment {payment.number} went on, and its pid was not shown"
        if payment.payment_hash in lsp.node.payments.known:
            yield f"{lsp.name} pays on behalf for payment {payment.number}, and its pid was not shown"


def a_limit_is_its_own_clients(crowd: Crowd) -> Iterator[str]:
    """No request and no part is refused because of other clients: each payer stays within its own share."""
    for lsp in crowd.lsps:
        for client, statuses in lsp.replies.items():
            if refused := statuses - {BlockStatus.ACCEPTED, BlockStatus.UNAVAILABLE, BlockStatus.BAD_VALUE}:
                name = crowd.phones[client].name
                yield f"{lsp.name} refused {name} a block: {', '.join(sorted(each.name for each in refused))}"
        if Trigger.OVER_LIMIT.value in lsp.ended_because.values():
            yield f"{lsp.name} failed a block back because its client was said to have more held than allowed"


def no_next_hop_is_flooded(crowd: Crowd) -> Iterator[str]:
    """Within the pace a next hop gets two couriers at most: one whose next hop is known, and one whose is not yet."""
    for lsp in crowd.lsps:
        for next_hop, times in lsp.couriers_to.items():
            if len(times) > 2 and times[-1] - times[-3] < lsp.policy.courier_pace_seconds - INEXACT_SECONDS:
                yield f"{lsp.name} sent 3 couriers to {next_hop.hex()} within {times[-1] - times[-3]:g} s"


def no_client_is_flooded(crowd: Crowd) -> Iterator[str]:
    """Answers and stored messages are sent at a pace that Core Lightning accepts, a few answers earlier."""
    for lsp in crowd.lsps:
        least = lsp.policy.pace_seconds - INEXACT_SECONDS
        for client, times in lsp.sent_to.items():
            if len(times) == times.maxlen and times[-1] - times[0] < least:
                yield f"{lsp.name} sent {crowd.phones[client].name} {len(times)} messages at once"


def a_courier_waits_for_its_own_next_hop_only(crowd: Crowd) -> Iterator[str]:
    """A courier is sent when it is due, unless another was sent to its next hop just before."""
    for lsp in crowd.lsps:
        if not lsp.running or lsp.node.attached is not lsp:
            continue
        turn = lsp.policy.courier_pace_seconds + len(crowd.phones) * lsp.policy.all_couriers_pace_seconds
        early = crowd.kernel.now - turn - invariants.GRACE_SECONDS
        for block in lsp.records(Block):
            next_hop, due_at = lsp.next_hops.get(block.key), block.courier_next_at
            if next_hop is None or due_at is None or max(due_at, lsp.attached_at) > early:
                continue
            if not (times := lsp.couriers_to[next_hop]) or times[-1] < early:
                late = crowd.kernel.now - due_at
                yield f"a courier to {next_hop.hex()} is {late:g} s late, and nothing is sent there"


INVARIANTS: tuple[Callable[[Any], Iterator[str]], ...] = (
    no_lsp_pays_out_what_it_cannot_claim,
    every_payment_is_made_once,
    a_part_counts_for_its_own_set,
    only_its_own_pid_releases,
    a_limit_is_its_own_clients,
    invariants.a_resolution_is_final,
    invariants.a_crash_loses_nothing,
    invariants.nothing_is_held_past_its_margin,
    invariants.nothing_waits_without_a_reason,
    invariants.all_is_bounded,
    no_next_hop_is_flooded,
    no_client_is_flooded,
    a_courier_waits_for_its_own_next_hop_only,
)
