"""Mutation tests of the simulator: engines that are broken on purpose must be caught.

Each mutant changes one line of an engine (or of the service, the store or a node adapter) to a typical error. It runs
in a separate process, which imports the broken source (mutation.py) and runs schedules until one breaks an invariant.
"""

import sys

from .mutation import Mutant, run_here

LSP, PAYER, PAYEE = "asyncpay.engine.lsp", "asyncpay.engine.payer", "asyncpay.engine.payee"

MUTANTS = (
    Mutant(
        "act before storing",
        "tests.simulation.process",
        "                        self._commit(changes)\n",
        "                        self.kernel.call_later(0.003, lambda: self._commit(changes), lifetime)\n",
    ),
    Mutant(
        "release in pieces",
        f"{LSP}.blocks",
        "        for part in ctx.records.parts(block):\n            resolve_htlc(",
        "        for part in ctx.records.parts(block)[:1]:\n            resolve_htlc(",
    ),
    Mutant(
        "release an incomplete set",
        f"{LSP}.htlcs",
        "if covered and sum(part.htlc.outgoing_amount_msat for part in parts) >= block.amount_msat:",
        "if covered:",
    ),
    Mutant("forget an early release", f"{LSP}.states", "        Trigger.RELEASE: To(State.UNLOCKED),\n", ""),
    Mutant(
        "hold into the margin by one block",
        f"{LSP}.conditions",
        "htlc.incoming_expiry - height <= ctx.policy.min_margin_blocks",
        "htlc.incoming_expiry - height < ctx.policy.min_margin_blocks",
    ),
    Mutant(
        "hold past release_by_height by one block",
        f"{LSP}.conditions",
        "height > block.release_by_height",
        "height > block.release_by_height + 1",
    ),
    Mutant(
        "hold past hold_until by a second",
        f"{LSP}.engine",
        "ctx.due(schedule.by_hold_until, ctx.state.unix.last_past_second)",
        "ctx.due(schedule.by_hold_until, ctx.state.unix.last_past_second - 1)",
        also=(("past_at(min(schedule.by_hold_until.first,", "past_at(1 + min(schedule.by_hold_until.first,"),),
    ),
    Mutant(
        "believe every reading of the clock",
        "asyncpay.service.common.clock",
        "offsets = [self._believed] if self._doubted is None else [self._believed, self._doubted[0]]",
        "offsets = [self._believed] if self._doubted is None else [self._doubted[0]]",
    ),
    Mutant(
        "forget at a restart what the clock had shown",
        "asyncpay.service.common.clock",
        "        passed = shown - stored - max(believed, was_shown)\n",
        "        passed = shown - stored\n",
    ),
    Mutant(
        "believe at a start what the clock shows",
        "asyncpay.service.common.clock",
        "        self._believed = believed if leap < TOLERANCE_SECONDS else believed - leap\n",
        "        self._believed = believed\n",
    ),
    Mutant(
        "go by the system's clock",
        "asyncpay.service.common.clock",
        "        return self._zero + self._steady()",
        "        return self._system()",
    ),
    Mutant(
        "hold an incomplete set for ever",
        f"{LSP}.engine",
        "    over += ctx.due(schedule.complete_by, ctx.now)\n",
        "",
        also=(("        schedule.complete_by.first,\n", ""),),
    ),
    Mutant(
        "forget a decision across a crash",
        f"{LSP}.blocks",
        "    ctx.put(replace(held, resolution=resolution))\n    ctx.state.unsent",
        "    ctx.put(replace(held, resolution=resolution))\n    del ctx.changes[-1]\n    ctx.state.unsent",
    ),
    Mutant(
        "hold for a foreign channel",
        f"{LSP}.htlcs",
        "    block = ctx.records.block_for(htlc.peer, htlc.payment_hash)\n    if block",
        "    block = next((b for b in ctx.records.blocks.values() if htlc.payment_hash in b.payment_hashes), None)\n"
        "    if block",
    ),
    Mutant(
        "fail what was forwarded, at a deadline",
        f"{LSP}.blocks",
        "    ctx.emit(ResolveHtlc(decided.key, decided.resolution, decided.preimage))",
        "    block = ctx.records.blocks.get(decided.block or b'')\n"
        "    late = block is not None and conditions.over(ctx, block) is not None\n"
        "    ctx.emit(ResolveHtlc(decided.key, Resolution.FAIL if late else decided.resolution, decided.preimage))",
    ),
    Mutant(
        "fail parts while paying on behalf",
        f"{LSP}.states",
        "        Trigger.NOT_PAID: To(State.DUE),\n",
        "        Trigger.NOT_PAID: To(State.DUE),\n        **ENDINGS,\n",
    ),
    Mutant(
        "resume on LND without the payer's link",
        f"{LSP}.conditions",
        "return outgoing_usable(ctx, htlc) and (payer_may_be_away or incoming_usable(ctx, htlc))",
        "return outgoing_usable(ctx, htlc)",
    ),
    Mutant(
        "let anybody cancel",
        f"{LSP}.requests",
        "if known is None or known.client != event.client:",
        "if known is None:",
    ),
    Mutant(
        "take any pid for the right one",
        f"{LSP}.release",
        "    name = unblock_hash(event.pid)\n    if name in",
        "    name = next(iter(ctx.records.blocks), unblock_hash(event.pid))\n    if name in",
    ),
    Mutant("drop a message when its client is away", f"{LSP}.mailbox", "    ctx.put(message)\n", ""),
    Mutant(
        "stop the courier after its first try",
        f"{LSP}.retransmit",
        "courier_next_at=ctx.now + pause))",
        "courier_next_at=None))",
    ),
    Mutant(
        "call no payer whose link is needed",
        f"{LSP}.notifications",
        "    return conditions.payer_missing(ctx, chain(due, stuck))\n",
        "    return False\n",
    ),
    Mutant(
        "push twice within the cooldown",
        f"{LSP}.notifications",
        "ctx.policy.push_cooldown_seconds * 2 ** (tries - 1)",
        "ctx.policy.push_retry_seconds * 2 ** (tries - 1)",
    ),
    Mutant(
        "notify without a cooldown when something new happens",
        f"{LSP}.notifications",
        "earliest = ctx.now if attempt.last_at is None else attempt.last_at + ctx.policy.push_cooldown_seconds",
        "earliest = ctx.now",
    ),
    Mutant(
        "let an HTLC wait for its client too long",
        f"{LSP}.engine",
        "ctx.due(schedule.wait_ends, ctx.now)",
        "ctx.due(schedule.wait_ends, ctx.now - ctx.policy.wake_timeout_seconds)",
        also=(("schedule.wait_ends.first,", "schedule.wait_ends.first + ctx.policy.wake_timeout_seconds,"),),
    ),
    Mutant(
        "pay again what is in flight (node adapter)",
        "tests.simulation.payments",
        "        if payment is None and node.implementation.pays_in_one_call:\n",
        "        if payment is None or not payment.result().preimage:\n",
        also=(
            (
                "payment is None:\n            payment = self._begin(order, self",
                "not payment or not payment.result().preimage:\n            payment = self._begin(order, self",
            ),
            (
                "        if payment is None or (payment.nothing_sent",
                "        if payment is None or payment.result().parts_in_flight or (payment.nothing_sent",
            ),
        ),
    ),
    Mutant(
        "hand over with fewer parts",
        f"{PAYER}.handover",
        "all_held = seen.parts_in_flight == payment.told_parts and seen.in_flight_msat >= payment.amount_msat",
        "all_held = True",
    ),
    Mutant(
        "take the LSP's word for the end of a payment",
        f"{PAYER}.lsp_requests",
        "    if update.state is BlockState.FAILED_BACK:\n",
        "    if update.state is BlockState.FAILED_BACK:\n"
        "        ctx.advance(ctx.payments[payment.key], Trigger.NOT_PAID, 'the LSP says so')\n",
    ),
    Mutant(
        "call a payment failed while its order may be late",
        f"{PAYER}.payments",
        "        case _ if payment.unsure_until is not None and ctx.now < payment.unsure_until:\n",
        "        case _ if False:\n",
    ),
    Mutant("not ask the node after a restart", f"{PAYER}.engine", "    payments.ask_about_all(ctx)\n", ""),
    Mutant(
        "pay before the LSP has agreed",
        f"{PAYER}.payments",
        "    if payment.state is State.BLOCKED and",
        "    if payment.state in (State.REQUESTED, State.BLOCKED) and",
    ),
    Mutant(
        "release a payment that cannot be taken",
        f"{PAYEE}.claims",
        "    elif not invoice.payable:\n",
        "    elif False:\n",
    ),
    Mutant(
        "answer every announcement of a known payment hash",
        f"{PAYEE}.claims",
        "    if not proven and not ctx.policy.accept_unproven and",
        "    if False and",
    ),
    Mutant(
        "take any proof for the right one",
        "asyncpay.wire.messages",
        "        return hmac.compare_digest(invoice_proof(self.pid, self.payment_hashes, secrets), self.invoice_proof)",
        "        return True",
    ),
    Mutant(
        "release once only",
        f"{PAYEE}.claims",
        "next_at=ctx.now + pause if tries < ctx.policy.max_releases else None",
        "next_at=None",
    ),
    Mutant(
        "name an HTLC by its channel's present name (node adapter)",
        "tests.simulation.channels",
        "HtlcKey(ChannelId.from_name(self.channel.scid), self.number)",
        "HtlcKey(ChannelId.from_name(self.channel.names[0]), self.number)",
    ),
    Mutant(
        "hold on a channel that is being closed by agreement",
        f"{LSP}.conditions",
        "if any(closing(ctx, part.htlc) for part in ctx.records.parts(block) if not part.gone):",
        "if False:",
    ),
    Mutant(
        "store an HTLC id without its highest bit",
        "asyncpay.store.rows",
        'return number.to_bytes(8, "big")',
        'return (number % 2**63).to_bytes(8, "big")',
    ),
    Mutant(
        "let the largest HTLC make room for the smallest",
        f"{LSP}.htlcs",
        "            first = min\n",
        "            first = max\n",
    ),
    Mutant(
        "count every connection as a source of its own",
        f"{LSP}.mailbox",
        "[message.source if channels.has(message.source) else None for message in messages]",
        "[message.source for message in messages]",
    ),
    Mutant(
        "pay along any route (node adapter)",
        "tests.simulation.payments",
        "if order.latest_expiry is not None and first.expiry > order.latest_expiry:",
        "if False:",
    ),
    Mutant(
        "forget when the node gives up what is held",
        f"{LSP}.exposure",
        "htlc.incoming_expiry - cutoff_blocks - ctx.policy.on_behalf_margin_blocks",
        "htlc.incoming_expiry - ctx.policy.on_behalf_margin_blocks",
    ),
    Mutant("pay on behalf for dust", f"{LSP}.exposure", "    if smallest_msat < least_msat:\n", "    if False:\n"),
    Mutant(
        "pay on behalf without a fee",
        f"{LSP}.exposure",
        "htlc.incoming_amount_msat - own.fee_msat(carried_msat)",
        "htlc.incoming_amount_msat",
    ),
    Mutant(
        "never force-close for what was claimed",
        f"{LSP}.on_behalf",
        "    if ctx.capabilities.keeps_settlements or height is None:\n",
        "    if True:\n",
    ),
    Mutant(
        "force-close for what was claimed after the node has failed it",
        f"{LSP}.on_behalf",
        "claimed.due(height + ctx.policy.settle_force_close_blocks)",
        "claimed.due(height + 16)",
    ),
    Mutant(
        "believe at once that an order never arrived",
        f"{LSP}.on_behalf",
        "        case _ if _may_still_arrive(ctx, attempt):\n",
        "        case _ if False:\n",
    ),
    Mutant(
        "list no HTLC under the channel that it is to go to",
        f"{LSP}.lookups",
        "            self._outgoing.add(to, htlc.key)\n",
        "            pass\n",
    ),
    Mutant(
        "keep a result listed that its payer has taken",
        f"{LSP}.lookups",
        "        self._results_of.discard(peer, htlc.key)\n",
        "",
    ),
    Mutant(
        "do not list at which height a block is over",
        f"{LSP}.schedule",
        "self.by_height.set(key, self.over_at_height(block) if undecided else math.inf)",
        "self.by_height.set(key, math.inf)",
    ),
    Mutant(
        "forget to send what waited for its channel",
        f"{LSP}.blocks",
        "        ctx.state.stuck.add(decided, ctx.state.schedule.over_at_height(block), block.hold_until)\n",
        "",
    ),
    Mutant(
        "go through the first slice of a long list only",
        f"{LSP}.schedule",
        "for start in range(0, len(items), size))",
        "for start in range(0, min(size, len(items)), size))",
    ),
    Mutant(
        "look up no archived block that is requested again",
        f"{LSP}.archiving",
        "lookup = Lookup(_unknown(state, request.unblock_hash), _payments(state, client, *hashes))",
        "lookup = Lookup()",
    ),
    # Defects that only many payments show.
    Mutant(
        "count the parts of a client's other payments for a set",
        f"{LSP}.htlcs",
        "    parts = ctx.records.parts(block)\n    covered = {part.htlc.payment_hash for part in parts} == set(",
        "    parts = [part for each in ctx.records.blocks_of(block.client) for part in ctx.records.parts(each)]\n"
        "    covered = {part.htlc.payment_hash for part in parts} >= set(",
        crowd_payments=30,
    ),
    Mutant(
        "send couriers to one next hop without a pause",
        f"{LSP}.schedule",
        "            self._ready_at.set(next_hop, now + self._pace_seconds)\n",
        "            self._ready_at.set(next_hop, now)\n",
        also=(("self._paused_until.set(next_hop, now + self._pace_seconds)", "self._paused_until.set(next_hop, now)"),),
        crowd_payments=80,
    ),
    Mutant(
        "answer a client without a pace",
        f"{LSP}.sessions",
        "    while session.answers and ctx.now >= _answers_at(ctx, session):\n",
        "    while session.answers:\n",
        crowd_payments=80,
    ),
    Mutant(
        "let couriers wait for those to other next hops",
        f"{LSP}.schedule",
        "        return self._next_hops.get(block.key, UNKNOWN_HOP)\n",
        "        return UNKNOWN_HOP\n",
        crowd_payments=80,
    ),
    Mutant(
        "count the blocks of all clients for the limit of one",
        f"{LSP}.requests",
        "ctx.records.in_force(event.client), ctx.records.number_of_blocks(event.client)",
        "len(ctx.records.blocks), len(ctx.records.blocks)",
        crowd_payments=80,
    ),
    Mutant(
        "count the parts of all clients for the limit of one",
        f"{LSP}.htlcs",
        "= ctx.records.held(client)",
        "= ctx.records._held.total(), ctx.records._held_msat.total()",
        crowd_payments=30,
    ),
    Mutant(
        "leave a forgotten block in an index",
        f"{LSP}.lookups",
        "            self._by_payment.pop((block.client, payment_hash), None)\n",
        "            pass\n",
        crowd_payments=30,
    ),
    Mutant(
        "release the oldest of a client's sets by any of its pids",
        f"{LSP}.release",
        "    name = unblock_hash(event.pid)\n    if name in",
        "    name = unblock_hash(event.pid)\n    if name in ctx.records.blocks:\n"
        "        name = next(ctx.records.blocks_of(ctx.records.blocks[name].client)).key\n"
        "    if name in",
        crowd_payments=30,
    ),
)


if __name__ == "__main__":  # one mutant, in this process: see mutation.run_apart
    _, name, most, seed = sys.argv
    run_here(next(mutant for mutant in MUTANTS if mutant.name == name), int(most), int(seed))
