"""The invariants, checked after every step of a simulation.

Each function is one rule of the protocol. It checks the money and the HTLCs in the nodes, and the LSPs' stores and
messages, not an engine's own view. "Immediately" means within GRACE_SECONDS of virtual time.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import TYPE_CHECKING

from asyncpay.engine.lsp.records import Block, Htlc, StoredMessage
from asyncpay.engine.lsp.states import State, Trigger
from asyncpay.engine.payer.states import State as PaymentState
from asyncpay.lightning import HtlcKey, Resolution
from asyncpay.service.common.clock import TOLERANCE_SECONDS
from asyncpay.wire.messages import BlockStatus

from .channels import SimHtlc
from .losses import forwarded_and_failed, overpaid_on_behalf
from .process import INEXACT_SECONDS

if TYPE_CHECKING:
    from .environment import Environment
    from .lsp import LspProcess
    from .simulation import Simulation

GRACE_SECONDS = 0.5
MOST_STEPS = 60_000
LEAST_MARGIN_BLOCKS = 40
"""Blocks for a claim on chain. LND leaves 80 between two HTLCs (chainreg/chainregistry.go:
DefaultBitcoinTimeLockDelta)."""
_ON_ITS_WAY = (Resolution.RESUME, Resolution.SETTLE)


class Violation(Exception):  # noqa: N818 - not an error of the simulation, but its result
    """An invariant is broken. `invariant`: its name."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(text)
        self.invariant = invariant


def no_lsp_pays_out_what_it_cannot_claim(sim: "Simulation") -> Iterator[str]:
    """LSP_a and LSP_b lose nothing: they can claim what they forwarded or paid."""
    for lsp in sim.lsps:
        yield from forwarded_and_failed(lsp)
    yield from overpaid_on_behalf(sim.lsp_a, sim.payment_hash, sim.parts())


def an_lsp_pays_on_behalf_with_time_to_spare(sim: "Simulation") -> Iterator[str]:
    """LSP_a's own payment expires long before its node fails the held HTLCs: the chain may be congested meanwhile."""
    payment = sim.lsp_a.node.payments.known.get(sim.payment_hash)
    held = [part.expiry for part in sim.parts()]
    cutoff = sim.lsp_a.node.implementation.capabilities.cutoff_blocks or 0
    for htlc in payment.htlcs if payment is not None and held else ():
        left = min(held) - cutoff - htlc.expiry
        if left < LEAST_MARGIN_BLOCKS:
            yield f"LSP_a's own HTLC ends only {left} blocks before its node gives up what it holds"


def the_payer_pays_at_most_once(sim: "Simulation") -> Iterator[str]:
    """A never has more at stake than the payment and its fees."""
    at_stake = sum(htlc.amount_msat for htlc in sim.sent() if not htlc.failed)
    if at_stake > sim.most_msat:
        yield f"A has {at_stake} msat at stake for a payment of at most {sim.most_msat}"


def the_payer_pays_only_for_the_preimage(sim: "Simulation") -> Iterator[str]:
    """A's parts are taken only with the preimage, which only B knows at first."""
    for htlc in sim.sent():
        if htlc.preimage is not None:
            if sha256(htlc.preimage).digest() != sim.payment_hash:
                yield f"A's HTLC {htlc.key} was taken with a wrong preimage"
            if not sim.invoice.times_paid:
                yield f"A's HTLC {htlc.key} was taken, and B was not paid"


def the_payee_is_paid_once(sim: "Simulation") -> Iterator[str]:
    """An invoice is paid once, and then in full."""
    if sim.invoice.times_paid > 1:
        yield f"B's invoice was paid {sim.invoice.times_paid} times"
    if sim.invoice.times_paid and sim.invoice.paid_msat < (sim.invoice.invoice.amount_msat or 0):
        yield f"B got {sim.invoice.paid_msat} msat"


def a_set_is_released_whole_or_not_at_all(sim: "Simulation") -> Iterator[str]:
    """In the store, after every transaction: no part is released while another still waits."""
    for block in sim.blocks():
        parts = [part for part in sim.lsp_a.records(Htlc) if part.block == block.key]
        going = [part for part in parts if part.resolution in _ON_ITS_WAY]
        if not going:
            continue
        if any(part.resolution is None and not part.gone for part in parts):
            yield "some parts of a set were released, and others are still held"
        if any(part.resolution is Resolution.FAIL and part.outcome is None for part in parts):
            yield "some parts of a set were released, and others failed by the LSP"
        covered = {part.htlc.payment_hash for part in parts} == set(block.payment_hashes)
        if not covered or sum(part.htlc.outgoing_amount_msat for part in parts) < block.amount_msat:
            yield "an incomplete set was released"


def only_the_pid_releases(sim: "Simulation") -> Iterator[str]:
    """No part is forwarded, and nothing is paid on behalf, before B has sent the pid, unless CLN's plugin died."""
    if sim.pid in sim.phone_b.wallet.shown:
        return
    for part in sim.parts():
        forwarded = part.key in sim.lsp_a.node.circuits
        if forwarded and part.key not in sim.plugin_died and part.key in sim.lsp_a.joined:
            yield f"HTLC {part.key} was forwarded before B showed the pid"
    if sim.payment_hash in sim.lsp_a.node.payments.known:
        yield "LSP_a pays on behalf before B showed the pid"


def a_resolution_is_final(sim: "Environment") -> Iterator[str]:
    """An HTLC that is offered again gets the same answer."""
    for lsp in sim.lsps:
        for key, answers in lsp.node.answers.items():
            if len(set(answers)) > 1:
                yield f"{lsp.name} answered HTLC {key} with {' and then '.join(each.value for each in answers)}"


def nothing_is_released_too_late(sim: "Simulation") -> Iterator[str]:
    """A payment is released only while B can still rely on it."""
    for block in sim.blocks():
        if block.state is State.RELEASED and block.key not in sim.released_at:
            height = sim.released_at[block.key] = sim.lsp_a.heard_height
            if height > block.release_by_height:
                yield f"released at height {height}, after release_by_height {block.release_by_height}"
            if sim.lsp_a.earliest_unix >= block.hold_until + 1:
                yield "released after hold_until"


def no_clock_is_late(sim: "Environment") -> Iterator[str]:
    """An engine's Unix time is not behind the true one, once its clock has been read and is not in doubt.

    Offsets are whole seconds: after a leap the engine's time may differ by one second. If the clock was wrong, a start
    less than TOLERANCE_SECONDS after the latest time in the store may use that time as the present one.
    """
    for process in sim.processes.values():
        if not process.running or process.clock.in_doubt or process.clock_error or not process.has_read_clock:
            continue
        late = sim.kernel.now - process.earliest_unix
        rounded = 1.0 if abs(process.clock.now() - sim.kernel.now) > INEXACT_SECONDS else INEXACT_SECONDS
        if late >= rounded + TOLERANCE_SECONDS * process.clock_was_wrong:
            yield f"the clock of {process.name} is {late:g} s late"


def no_clock_is_early(sim: "Environment") -> Iterator[str]:
    """An engine takes no Unix second for past before it is: no clock is wrong here for so long that it is believed.

    Excused is a process that started with a wrong clock and with nothing stored: it has no earlier time.
    """
    for process in sim.processes.values():
        early = process.earliest_unix - sim.kernel.now
        if process.running and process.has_read_clock and not process.began_wrong and early > INEXACT_SECONDS:
            yield f"the clock of {process.name} is {early:g} s early"


def no_timer_is_short(sim: "Environment") -> Iterator[str]:
    """An engine's time runs no faster than the true one, but for TOLERANCE_SECONDS at a start.

    Excused is a clock set ahead while its process did not run, or wrong at its first start.
    """
    for process in sim.processes.values():
        yield from process.short_timers


def nothing_is_held_past_its_margin(sim: "Environment") -> Iterator[str]:
    """At a deadline, or near its expiry, every part is returned immediately; the node never has to do it."""
    for lsp in sim.lsps:
        if not _attentive(lsp):
            continue
        for htlc in lsp.node.held.values():
            block = _block_of(lsp, htlc.key)
            if _asked(sim, lsp, htlc) and (block is None or block.state is not State.PAYING):
                yield from _overdue(sim, lsp, htlc, block)
        for key in lsp.node.cut_off:
            block = _block_of(lsp, key)
            if block is None or block.state is not State.PAYING:
                yield f"the node of {lsp.name} had to fail HTLC {key} by itself"


def no_deadline_is_early(sim: "Simulation") -> Iterator[str]:
    """A block that ends by its deadline has reached it, by the chain's height or by the true time."""
    for block in sim.blocks():
        if sim.lsp_a.ended_because.get(block.key) == Trigger.DEADLINE.value and block.key not in sim.ended_at:
            now = sim.ended_at[block.key] = sim.kernel.now
            if now < block.hold_until + 1 and sim.lsp_a.heard_height <= block.release_by_height:
                yield f"failed back {block.hold_until + 1 - now:g} s before its deadline"


def nothing_waits_without_a_reason(sim: "Environment") -> Iterator[str]:
    """An HTLC that belongs to no block waits for an answer only if it is for an offline client."""
    for lsp in sim.lsps:
        if not _attentive(lsp):
            continue
        for htlc in lsp.node.held.values():
            record = lsp.record(Htlc, htlc.key)
            if not _asked(sim, lsp, htlc):
                continue
            if record is None:
                yield f"{lsp.name} gave HTLC {htlc.key} no answer"
            elif record.block is None and not _waits_for_client(sim, lsp, htlc, record.offered_at):
                yield f"{lsp.name} lets HTLC {htlc.key} wait for nothing"


def a_promised_release_is_kept(sim: "Simulation") -> Iterator[str]:
    """A payee whose pid was accepted in time need not send it again."""
    for block in sim.blocks():
        if block.key in sim.lsp_a.promised and block.state in (State.ACCEPTED, State.HELD):
            yield "a release_reply said that the parts are about to be released, and the LSP still waits for the pid"


def the_payer_hands_over_only_what_is_held(sim: "Simulation") -> Iterator[str]:
    """A's message is sent once LSP_a holds all parts that A's node has in flight, and they suffice."""
    payment = sim.phone_a.wallet.payment(sim.payment_hash)
    if payment is not None and payment.state is PaymentState.HELD and not sim.checked_handover:
        sim.checked_handover = True
        flying = sim.a.payments.look_up(sim.payment_hash)
        if flying.parts_in_flight != payment.told_parts or flying.in_flight_msat < payment.amount_msat:
            yield f"A hands over {flying.parts_in_flight} parts in flight, {payment.told_parts} of them held"


def a_failed_payment_costs_nothing(sim: "Simulation") -> Iterator[str]:
    """While A's wallet reports the payment as failed, A's node has no HTLC of it in flight, and none was taken."""
    payment = sim.phone_a.wallet.payment(sim.payment_hash)
    if payment is not None and payment.state is PaymentState.FAILED:
        at_stake = sum(not htlc.failed for htlc in sim.sent())
        if at_stake:
            yield f"A's wallet calls the payment failed, and {at_stake} of its HTLCs may still be taken"


def the_payee_releases_only_what_it_is_owed(sim: "Simulation") -> Iterator[str]:
    """B never releases a payment that its node would not accept."""
    if sim.phone_b.wallet.shown_in_vain:
        yield "B released a payment of an invoice that cannot be paid"


def strangers_have_no_effect(sim: "Simulation") -> Iterator[str]:
    """Blocks hold only their own client's HTLCs, and only their own payer and payee can end them."""
    for lsp in sim.lsps:
        for record in lsp.records(Htlc):
            block = None if record.block is None else lsp.record(Block, record.block)
            if block is not None and block.client != record.htlc.peer:
                yield f"an HTLC of one client was held for a block of another: {record.key}"
    if BlockStatus.CONFLICT in sim.lsp_a.replies.get(sim.a.id, ()):
        yield "A's own request was refused as a conflict"
    for block in sim.blocks():
        why = sim.lsp_a.ended_because.get(block.key, "")
        if why == Trigger.CANCEL.value and not sim.phone_a.wallet.cancels_sent:
            yield "A's block was cancelled, and not by A"
        if why == Trigger.REFUSAL.value and not sim.phone_b.wallet.refused:
            yield "A's block was refused, and not by B"
    if sim.attacker.announced & (sim.phone_b.wallet.shown | sim.phone_b.wallet.refused):
        yield "B answered a stranger who does not have the invoice"


def a_crash_loses_nothing(sim: "Environment") -> Iterator[str]:
    """A process knows exactly the records that it has stored, and the store returns them."""
    for process in sim.processes.values():
        yield from process.lost


def all_is_bounded(sim: "Environment") -> Iterator[str]:
    """Mailboxes and pushes."""
    for lsp in sim.lsps:
        for client in sim.clients:
            messages = [each for each in lsp.records(StoredMessage) if each.client == client]
            if len(messages) > lsp.policy.mailbox_messages:
                yield f"{lsp.name} keeps {len(messages)} messages for one client"
    for phone in sim.phones.values():
        for method, before, now in phone.notified_too_soon:
            if not any(before < at <= now for at in sim.lsp_of[phone.name].clock_leaps):
                yield f"{phone.name} was notified of {method} twice within its cooldown, after {now - before:g} s"


def the_honest_get_their_share(sim: "Simulation") -> Iterator[str]:
    """Strangers cannot exhaust A's share: see attacker.py."""
    yield from sim.fair_share.turned_away
    yield from sim.fair_share.pushed_out()


def every_index_agrees_with_the_records(sim: "Simulation") -> Iterator[str]:
    """The indexes of an LSP's engine agree with a full scan of its records."""
    for lsp in sim.lsps:
        for text in lsp.index_differences():
            yield f"{lsp.name}: {text}"


Invariant = Callable[["Simulation"], Iterator[str]]


def work_is_bounded(sim: "Simulation") -> Iterator[str]:
    """No node causes unlimited work for others."""
    if sim.kernel.steps > MOST_STEPS:
        yield f"more than {MOST_STEPS} steps"


AFTER_CHANGES: tuple[Invariant, ...] = (
    no_lsp_pays_out_what_it_cannot_claim,
    an_lsp_pays_on_behalf_with_time_to_spare,
    a_set_is_released_whole_or_not_at_all,
    only_the_pid_releases,
    a_resolution_is_final,
    nothing_is_released_too_late,
    no_deadline_is_early,
    a_promised_release_is_kept,
    a_crash_loses_nothing,
    no_timer_is_short,
    all_is_bounded,
    every_index_agrees_with_the_records,
)
"""Invariants that only a stored change, a call to the node, or a change of an HTLC can break."""

FOR_HONEST_PEOPLE: tuple[Invariant, ...] = (
    the_payer_pays_at_most_once,
    the_payer_pays_only_for_the_preimage,
    the_payee_is_paid_once,
    the_payer_hands_over_only_what_is_held,
    a_failed_payment_costs_nothing,
    the_payee_releases_only_what_it_is_owed,
    strangers_have_no_effect,
    the_honest_get_their_share,
)
"""The same; colluders may break them among themselves."""

AT_ANY_TIME: tuple[Invariant, ...] = (
    no_clock_is_late,
    no_clock_is_early,
    nothing_is_held_past_its_margin,
    nothing_waits_without_a_reason,
    work_is_bounded,
)
"""Invariants that the passing of time can break."""


class Checker:
    """Checks the invariants after every step: each when it can have been broken."""

    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self._changes = -1

    def check(self) -> None:
        """Raise Violation if any of the invariants is broken."""
        changes = self._sim.kernel.changes
        invariants = AT_ANY_TIME
        if changes != self._changes:
            invariants = (*AFTER_CHANGES, *(FOR_HONEST_PEOPLE if self._sim.colluders is None else ()), *invariants)
        self._changes = changes
        for invariant in invariants:
            for text in invariant(self._sim):
                raise Violation(invariant.__name__, text)


def _attentive(lsp: "LspProcess") -> bool:
    """Whether the component runs, is attached to its node, and has had time to handle the last event."""
    return lsp.running and lsp.node.attached is lsp and lsp.kernel.now > lsp.stirred_at + GRACE_SECONDS


def _asked(sim: "Environment", lsp: "LspProcess", htlc: SimHtlc) -> bool:
    """Whether the node has waited long enough for an answer to this HTLC."""
    waits = htlc.key in lsp.node.on_offer and not htlc.channel.closed
    return waits and sim.kernel.now > htlc.offered_at + GRACE_SECONDS


def _block_of(lsp: "LspProcess", key: HtlcKey) -> Block | None:
    record = lsp.record(Htlc, key)
    return None if record is None or record.block is None else lsp.record(Block, record.block)


def _overdue(sim: "Environment", lsp: "LspProcess", htlc: SimHtlc, block: Block | None) -> Iterator[str]:
    left = htlc.expiry - lsp.heard_height
    if left <= lsp.policy.min_margin_blocks:
        yield f"{lsp.name} holds HTLC {htlc.key} {left} blocks before its expiry"
    if block is None:
        return
    closing_since = htlc.channel.closing_since
    if closing_since is not None and sim.kernel.now > closing_since + GRACE_SECONDS:
        yield f"{lsp.name} holds HTLC {htlc.key}, for which the close of its channel waits"
    if lsp.heard_height > block.release_by_height:
        yield f"{lsp.name} holds HTLC {htlc.key} after release_by_height"
    if lsp.earliest_unix > block.hold_until + 1 + GRACE_SECONDS:
        yield f"{lsp.name} holds HTLC {htlc.key} after hold_until"
    began = block.first_part_at if block.state in (State.ACCEPTED, State.UNLOCKED) else None
    if began is not None and lsp.clock.now() > began + lsp.policy.incomplete_seconds + GRACE_SECONDS:
        yield f"{lsp.name} holds an incomplete set for too long"


def _waits_for_client(sim: "Environment", lsp: "LspProcess", htlc: SimHtlc, since: float) -> bool:
    client = htlc.route[0].to
    if client not in sim.phones or lsp.clock.now() > since + lsp.policy.wake_timeout_seconds + GRACE_SECONDS:
        return False
    link = lsp.node.connections[client]
    ways = [any(each.usable_by(lsp.node) for each in link.channels)]
    changed_at = link.changed_at
    if not lsp.node.implementation.capabilities.forwards_with_payer_offline:
        ways.append(htlc.channel.usable_by(lsp.node))
        changed_at = max(changed_at, htlc.channel.connection.changed_at)
    return not all(ways) or sim.kernel.now < changed_at + GRACE_SECONDS
