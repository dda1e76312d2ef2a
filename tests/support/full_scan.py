"""Compare the LSP engine's indexes with a full scan of the records.

Indexes are derived from the records, so after every event they must equal the result of a scan. The scans are
simple, and share no code with asyncpay/engine/lsp/lookups.py and schedule.py.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, TypeVar

from asyncpay.engine.indexes import Deadlines
from asyncpay.engine.lsp.records import BLOCK_BYTES, Archived, Attempt, AttemptState, Block, Htlc
from asyncpay.engine.lsp.sessions import EARLY_PAUSES
from asyncpay.engine.lsp.state import LspState
from asyncpay.engine.lsp.states import COLLECTING, FINISHED, PROPERTIES, UNDECIDED, State
from asyncpay.engine.policy import DAY_SECONDS, LspPolicy
from asyncpay.lightning import HeldHtlc, NodeId, Resolution, ShortChannelId

K = TypeVar("K")
R = TypeVar("R")


def differences(
    state: LspState, policy: LspPolicy, archived: Iterable[Archived], attempts: Iterable[Attempt]
) -> Iterator[str]:
    """Yield each difference between an index and the records; nothing if there is none.

    archived, attempts: all that are stored.
    """
    scan = _Scan(state, policy, list(archived), {each.payment_hash for each in attempts})
    lines = scan.of_blocks(), scan.of_the_archive(), scan.of_htlcs(), scan.of_others(), scan.of_the_stream()
    for name, found, expected in chain(*lines):
        if found != expected:
            yield f"index {name}: {found}, and a full scan finds {expected}"


Line = tuple[str, Any, Any]


class _Scan:
    def __init__(self, state: LspState, policy: LspPolicy, archived: list[Archived], attempts: set[bytes]) -> None:
        self.attempts, loaded = attempts, state.records.archive.loaded
        self.all_archived, self.archived = archived, [each for each in archived if each.key not in loaded]
        self.state, self.policy, self.records, self.schedule = state, policy, state.records, state.schedule
        self.blocks = list(self.records.blocks.values())
        self.htlcs = list(self.records.htlcs.values())
        self.peers: set[NodeId] = {block.client for block in self.blocks} | {each.htlc.peer for each in self.htlcs}
        self.peers |= {webhook.client for webhook in self.records.webhooks.values()}
        self.peers |= {each.client for each in archived}
        self.archived_of = Counter(each.client for each in self.archived)
        self.blocks_of = _groups(self.blocks, lambda block: block.client)
        self.htlcs_of = _groups(self.htlcs, lambda each: each.htlc.peer)
        self.parts_of = _groups(self.htlcs, lambda each: each.block)

    # --- blocks ---

    def of_blocks(self) -> Iterator[Line]:
        for client in self.peers:
            theirs = self.blocks_of[client]
            yield "blocks_of", _keys(self.records.blocks_of(client)), _keys(theirs)
            archived = self.archived_of[client]
            yield "number_of_blocks", self.records.number_of_blocks(client), len(theirs) + archived
            yield "in_force", self.records.in_force(client), sum(each.state not in FINISHED for each in theirs)
            yield "due_of", _keys(self.records.due_of(client)), _keys(b for b in theirs if b.state is State.DUE)
            size_bytes = sum(block.size_bytes for block in theirs) + archived * BLOCK_BYTES
            yield "block_bytes", self.records.block_bytes(client), size_bytes
            yield "untold_of", set(self.records.untold_of(client)), _keys(b for b in theirs if _untold(b))
        due = {block.client for block in self.blocks if block.state is State.DUE}
        yield "clients_with_due_blocks", set(self.records.clients_with_due_blocks()), due
        all_bytes = sum(block.size_bytes for block in self.blocks) + len(self.archived) * BLOCK_BYTES
        yield "all block_bytes", self.records.block_bytes(), all_bytes
        for block in self.blocks:
            for payment_hash in block.payment_hashes:
                yield "block_for", self.records.block_for(block.client, payment_hash), block
            yield from self._schedule_of(block)
        running = {block.key for block in self.blocks if block.courier_next_at is not None}
        yield "known next hops", set(self.schedule.couriers.known - running), set()
        undecided = [block for block in self.blocks if block.state in UNDECIDED]
        yield "size of by_height", len(self.schedule.by_height), len(undecided)
        yield "size of by_hold_until", len(self.schedule.by_hold_until), len(undecided)
        by_state = Counter(block.state for block in self.blocks)
        all_by_state = +self.records.totals.blocks
        yield "totals.blocks", by_state - all_by_state, Counter()
        yield "totals.blocks, archived ones too", (all_by_state - by_state).total(), len(self.archived)
        open_invoices = {h for b in self.blocks if b.invoice and b.state not in FINISHED for h in b.payment_hashes}
        for payment_hash in {h for block in self.blocks for h in block.payment_hashes}:
            may_be = self.records.may_be_paid_on_behalf(payment_hash)
            yield "may_be_paid_on_behalf", may_be, payment_hash in open_invoices

    def of_the_archive(self) -> Iterator[Line]:
        archive = self.records.archive
        stored = {each.key: each for each in self.all_archived}
        yield "archived and loaded", archive.loaded, {key: stored.get(key) for key in archive.loaded}
        yield "archived blocks of clients", archive.blocks_of, self.archived_of
        yield "archived blocks", archive.total, len(self.archived)
        yield "archived and in memory", {each.key for each in self.archived} & self.records.blocks.keys(), set()
        for each in self.archived:
            after, at_height = each.forget_after, each.forget_at_height
            yield "first_forget_after", after is not None and after < archive.first_forget_after, False
            yield "first_forget_at_height", at_height is not None and at_height < archive.first_forget_at_height, False
            if each.latest_at is not None:
                yield "latest_at", archive.latest_at is not None and each.latest_at <= archive.latest_at, True
        open_blocks = [block for block in self.blocks if block.invoice and block.state not in FINISHED]
        hashes = {payment_hash for block in open_blocks for payment_hash in block.payment_hashes}
        yield "attempts that forbid to pay", (hashes & self.attempts) - self.records.attempts.keys(), set()

    def _schedule_of(self, block: Block) -> Iterator[Line]:
        schedule, key, undecided = self.schedule, block.key, block.state in UNDECIDED
        parts = self.parts_of[key]
        yield "parts", _keys(self.records.parts(block)), _keys(parts)
        margins = [part.htlc.incoming_expiry - self.policy.min_margin_blocks for part in parts if not part.gone]
        over_at = min([block.release_by_height + 1, *margins])
        yield "by_height", schedule.by_height.get(key), over_at if undecided else math.inf
        yield "by_hold_until", schedule.by_hold_until.get(key), block.hold_until if undecided else math.inf
        complete_by = math.inf
        if block.state in COLLECTING and block.first_part_at is not None:
            complete_by = block.first_part_at + self.policy.incomplete_seconds
        yield "complete_by", schedule.complete_by.get(key), complete_by
        yield "couriers", block in schedule.couriers, block.courier is not None and block.courier_next_at is not None
        forgotten_at = schedule.forget_after.get(key), schedule.forget_at_height.get(key)
        waits_to_be_forgotten = min(forgotten_at) < math.inf
        yield "forget", waits_to_be_forgotten, not undecided and block.state is not State.PAYING

    # --- HTLCs ---

    def of_htlcs(self) -> Iterator[Line]:
        waiting = [each for each in self.htlcs if each.block is None and each.resolution is None]
        due = {block.key for block in self.blocks if block.state is State.DUE}
        going = [*waiting, *(each for each in self.htlcs if each.block in due)]
        yield "waiting", _keys(self.records.waiting()), _keys(waiting)
        targets = {to for each in going if (to := _target(each.htlc)) is not None}
        yield "all_targets", set(self.records.all_targets()), targets
        by_target = _groups(going, lambda each: _target(each.htlc))
        for to in targets:
            yield "outgoing", _keys(self.records.outgoing([to])), _keys(by_target[to])
        results = {each.htlc.peer for each in self.htlcs if _result(each)}
        yield "peers_with_results", set(self.records.peers_with_results()), results
        for peer in self.peers:
            theirs = self.htlcs_of[peer]
            waits = (each for each in theirs if each.block is None and each.resolution is None)
            yield "waiting_from", _keys(self.records.waiting_from(peer)), _keys(waits)
            yield "has_result", self.records.has_result(peer), peer in results
            decided = any(each.resolution is not None and not each.gone for each in theirs)
            yield "has_decided", self.records.has_decided(peer), decided
            held_msat = [h.htlc.incoming_amount_msat for h in theirs if h.block is not None and h.resolution is None]
            yield "held", self.records.held(peer), (len(held_msat), sum(held_msat))
            yield "claimed_msat", self.records.claimed_msat(peer), sum(map(_claimed_msat, theirs))
        yield "all claimed_msat", self.records.claimed_msat(), sum(map(_claimed_msat, self.htlcs))
        yield "size of claimed", len(self.schedule.claimed), sum(_claimed_msat(each) > 0 for each in self.htlcs)
        yield "size of wait_ends", len(self.schedule.wait_ends), len(waiting)
        totals = self.records.totals
        held = {each.key: each for each in self.htlcs if each.block is not None and each.resolution is None}
        sum_msat = sum(each.htlc.incoming_amount_msat for each in held.values())
        yield "totals of held parts", (totals.held_parts, totals.held_msat), (len(held), sum_msat)
        yield from _deadlines("totals.held_since", totals.held_since, {k: each.offered_at for k, each in held.items()})
        waiting_msat = sum(each.htlc.incoming_amount_msat for each in waiting)
        yield "totals of waiting", (totals.waiting_htlcs, totals.waiting_msat), (len(waiting), waiting_msat)
        for channel_id, theirs in _groups(self.htlcs, lambda each: each.key.channel_id).items():
            yield "on_channel", _keys(self.records.on_channel(channel_id)), _keys(theirs)
        for each in self.htlcs:
            expiry = each.htlc.incoming_expiry
            yield "claimed", self.schedule.claimed.get(each.key), expiry if _claimed_msat(each) else math.inf
        for each in waiting:
            wait_ends = each.offered_at + self.policy.wake_timeout_seconds
            yield "wait_ends", self.schedule.wait_ends.get(each.key), wait_ends
            margin = each.htlc.incoming_expiry - self.policy.min_margin_blocks
            yield "wait_height", self.schedule.wait_height.get(each.key), margin

    # --- the rest ---

    def of_others(self) -> Iterator[Line]:
        records, schedule, policy = self.records, self.schedule, self.policy
        in_flight = [each for each in records.attempts.values() if each.state is AttemptState.IN_FLIGHT]
        yield "in_flight", _keys(records.in_flight()), _keys(in_flight)
        yield "clients", set(records.clients()), {each.client for each in records.webhooks.values()}
        with_messages = {each.client for each in records.messages.values()}
        yield "clients_with_messages", set(records.clients_with_messages()), with_messages
        sizes = [each.size for each in records.messages.values()]
        yield "totals of messages", (records.totals.messages, records.totals.message_bytes), (len(sizes), sum(sizes))
        messages_of = _groups(records.messages.values(), lambda each: each.client)
        delivered_to = _groups(records.delivered.values(), lambda each: each.client)
        webhooks_of = _groups(records.webhooks.values(), lambda each: each.client)
        for client in self.peers:
            messages = sorted(messages_of[client], key=lambda each: each.number)
            yield "messages_for", records.messages_for(client), messages
            yield "delivered_beyond", _keys(records.delivered_beyond(client, 0)), _keys(delivered_to[client])
            yield "webhooks_of", _keys(records.webhooks_of(client)), _keys(webhooks_of[client])
        dropped_at = {each.key: each.arrived_at + policy.mailbox_seconds for each in records.messages.values()}
        yield from _deadlines("messages", schedule.messages, dropped_at)
        dropped_at = {each.key: each.delivered_at + policy.delivered_seconds for each in records.delivered.values()}
        yield from _deadlines("delivered", schedule.delivered, dropped_at)
        next_at = {each.key: each.next_at for each in records.push_attempts.values() if each.next_at is not None}
        yield from _deadlines("pushes", schedule.pushes, next_at)
        for webhook in records.webhooks.values():
            lapses_at = webhook.used_at + 7 * DAY_SECONDS
            yield "webhooks", schedule.webhooks.get(webhook.key) <= lapses_at, True

    def of_the_stream(self) -> Iterator[Line]:
        state = self.state
        for key in state.intercepted:
            known = self.records.htlcs.get(key)
            yield "stuck", key in state.stuck, known is not None and known.resolution is not None
        with_messages = {each.client for each in self.records.messages.values()}
        for client, session in state.sessions.items():
            expected = math.inf
            if session.answers:
                expected = session.free_at - EARLY_PAUSES * self.policy.pace_seconds - 1e-6
            elif session.delivering is None and client in with_messages:
                expected = max(session.next_at, session.free_at)
            yield "session_at", state.session_at.get(client), expected
        yield "size of session_at", len(state.session_at) <= len(state.sessions), True


def _groups(records: Iterable[R], key: Callable[[R], K]) -> defaultdict[K, list[R]]:
    groups: defaultdict[K, list[R]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return groups


def _deadlines(name: str, index: Deadlines[K], expected: dict[K, float]) -> Iterator[Line]:
    yield name, {key: index.get(key) for key in expected}, expected
    yield f"size of {name}", len(index), len(expected)


def _keys(records: Iterable[Any]) -> set[Any]:
    return {each.key for each in records}


def _untold(block: Block) -> bool:
    update = PROPERTIES[block.state].update
    return update is not None and block.told is not update


def _target(htlc: HeldHtlc) -> NodeId | ShortChannelId | None:
    return htlc.outgoing_channel if htlc.outgoing_node is None else htlc.outgoing_node


def _result(htlc: Htlc) -> bool:
    return not htlc.gone and (htlc.outcome is not None or htlc.resolution in (Resolution.FAIL, Resolution.SETTLE))


def _claimed_msat(htlc: Htlc) -> int:
    claimed = htlc.block is not None and htlc.resolution is Resolution.SETTLE and not htlc.gone
    return htlc.htlc.incoming_amount_msat if claimed else 0
