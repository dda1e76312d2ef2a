"""All numbers that the operator of an LSP or the user of a wallet may set, with the protocol's defaults."""

from dataclasses import dataclass, replace

from asyncpay.lightning import Capabilities
from asyncpay.lsp_info import VERSION, LspInfo

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class LspPolicy:
    """Limits and intervals. "A client" is one peer: no client can use up the share of another.

    max_holds: the most blocks in force, and the most held HTLCs, of a client.
    max_blocks: the most blocks of a client, including finished ones that are still remembered.
    max_block_bytes: the most space of a client's blocks, including their couriers and invoices (Block.size_bytes).
    max_all_block_bytes: the most space of the blocks of all clients together. Beyond it a client is still served as
        long as its own blocks take less than assured_block_bytes: no client can use up the space that others need.
    max_amount_msat: the most for one payment, as requested.
    max_held_msat: the most of the incoming amounts that are held for a client.
    max_hold_seconds, max_hold_blocks: how far hold_until and release_by_height may lie in the future.
    min_margin_blocks: an HTLC this close to its incoming expiry is failed back. See `suited` for the default.
    incomplete_seconds: an incomplete set of parts is failed back this long after its first part.
    on_behalf_margin_blocks: from the expiry of the LSP's own HTLCs to the height at which the node itself fails the
        incoming ones. LND may take long to resolve an own HTLC on chain, where the payee may still claim it.
    settle_force_close_blocks: this long before the incoming expiry of a claimed part (SETTLE) that is still on its
        channel, the channel is force-closed. Only on a node that may lose a SETTLE.
    on_behalf_timeout_seconds: how long the node may try to pay on behalf.
    on_behalf_min_part_msat: no invoice is paid for parts that bring less each. It must be twice the cost of claiming
        one on chain, because LND spends at most half of an HTLC's value on that (contractcourt/config.go).
    max_on_behalf, max_on_behalf_msat: the most payments on behalf at a time, and the most that they may cost together.
    max_on_behalf_client, max_on_behalf_client_msat: the same for one client.
    track_again_seconds: the pause before the node is asked again for an own payment whose progress is not followed.
    on_behalf_quiet_seconds: after a broken connection, how long the node must report that it does not pay before that
        counts. Until then an order that was sent before may still arrive.
    query_terms_seconds: the pause before the node is asked again for the terms of the channels of a block.

    wake_timeout_seconds: how long an HTLC for an offline client waits for the client.
    max_waiting, max_waiting_msat: the most such HTLCs for one client.

    mailbox_messages, mailbox_bytes, mailbox_seconds: the limits of the onion messages stored for one client.
    delivered_seconds, max_delivered: how long delivered messages are recognised, and how many of one client.
    repeat_push_seconds: the shortest time between two notifications for the same message.
    pace_seconds: the pause between two messages to one client. CLN silently drops messages beyond 4 a second.
    redeliver_seconds: the pause before a message that its connected client did not accept is sent again.

    courier_first_seconds, courier_most_seconds: the interval doubles from the first to the second.
    courier_pace_seconds: the pause between two couriers to one next hop; couriers whose next hop the node has not
        reported share one pause. CLN accepts 4 messages a second from a peer.
    all_couriers_pace_seconds: the pause between any two couriers of this LSP.

    push_cooldown_seconds: the pause between two notifications of a client by the same method; doubles.
    push_retry_seconds: the pause before a failed notification is sent again; doubles.
    max_pushes: the most notifications for one event.
    expiry_soon_blocks: an offline client is notified when one of its HTLCs expires within this many blocks.
    """

    max_holds: int = 483
    max_blocks: int = 1000
    max_block_bytes: int = 4_000_000
    max_all_block_bytes: int = 200_000_000
    assured_block_bytes: int = 50_000
    max_amount_msat: int = 5_000_000_000
    max_held_msat: int = 20_000_000_000
    max_hold_seconds: int = 14 * DAY_SECONDS
    max_hold_blocks: int = 1008
    min_margin_blocks: int = 30
    incomplete_seconds: int = 120
    on_behalf_margin_blocks: int = 144
    settle_force_close_blocks: int = 40
    on_behalf_timeout_seconds: int = 60
    on_behalf_min_part_msat: int = 10_000_000
    max_on_behalf: int = 100
    max_on_behalf_msat: int = 20_000_000_000
    max_on_behalf_client: int = 10
    max_on_behalf_client_msat: int = 6_000_000_000
    track_again_seconds: float = 5
    on_behalf_quiet_seconds: float = 600
    query_terms_seconds: float = 60

    wake_timeout_seconds: float = 45
    max_waiting: int = 30
    max_waiting_msat: int = 5_000_000_000

    mailbox_messages: int = 50
    mailbox_bytes: int = 100_000
    mailbox_seconds: int = 14 * DAY_SECONDS
    delivered_seconds: int = DAY_SECONDS
    max_delivered: int = 1000
    repeat_push_seconds: int = 3600
    pace_seconds: float = 0.3
    redeliver_seconds: float = 5

    courier_first_seconds: float = 5
    courier_most_seconds: float = 600
    courier_pace_seconds: float = 0.5
    all_couriers_pace_seconds: float = 0.02

    push_cooldown_seconds: float = 60
    push_retry_seconds: float = 2
    max_pushes: int = 8
    expiry_soon_blocks: int = 24


def describe(policy: LspPolicy, node: Capabilities) -> LspInfo:
    """Return the offer of an LSP with this policy and this node."""
    return LspInfo(
        versions=(VERSION,),
        transit_release=node.transit_release.able,
        forwards_with_payer_offline=node.forwards_with_payer_offline.able,
        pays_on_behalf=node.pays_on_behalf.able,
        courier=True,
        max_holds=policy.max_holds,
        max_hold_seconds=policy.max_hold_seconds,
        max_hold_blocks=policy.max_hold_blocks,
        max_amount_msat=policy.max_amount_msat,
        min_margin_blocks=policy.min_margin_blocks,
    )


LEAST_ON_BEHALF_MARGIN_BLOCKS = 40
"""For a channel that is closed at an own HTLC's expiry: its commitment and the HTLC's timeout must confirm, and LND
0.21 treats neither as urgent (contractcourt/channel_arbitrator.go: an own payment has no incoming HTLC to protect). The
value assumes a feerate that this node set itself, so the adapter begins no route with a channel that the peer opened.
"""


def suited(policy: LspPolicy, node: Capabilities) -> LspPolicy:
    """Return the policy with the margin that a node of these capabilities needs, unless the margin was set."""
    if policy.min_margin_blocks != LspPolicy().min_margin_blocks:
        return policy
    return replace(policy, min_margin_blocks=max(policy.min_margin_blocks, _least_margin_blocks(node)))


def _least_margin_blocks(node: Capabilities) -> int:
    return 1 if node.cutoff_blocks is None else node.cutoff_blocks + 4


def check_policy(policy: LspPolicy, node: Capabilities) -> None:
    """Raise ValueError, with the values to set, if the policy leaves a node of these capabilities too little time."""
    least = _least_margin_blocks(node)
    if policy.min_margin_blocks < least:
        raise ValueError(
            f"min_margin_blocks = {policy.min_margin_blocks} is too small: this node needs {least} or more, "
            "because it fails held HTLCs itself shortly before they expire"
        )
    if node.pays_on_behalf and policy.on_behalf_margin_blocks < LEAST_ON_BEHALF_MARGIN_BLOCKS:
        raise ValueError(
            f"on_behalf_margin_blocks = {policy.on_behalf_margin_blocks} is too small: it must be "
            f"{LEAST_ON_BEHALF_MARGIN_BLOCKS} or more, because a payee may claim a payment on chain after its expiry"
        )
    if not node.keeps_settlements:
        _check_force_close(policy, node.cutoff_blocks or 0)


LEAST_FORCE_CLOSE_BLOCKS = 8
"""Before the node's cutoff: for a snapshot that fails or is late, and for blocks in quick succession."""


def _check_force_close(policy: LspPolicy, cutoff_blocks: int) -> None:
    """Check that channels are force-closed before the node fails an HTLC, and after a payment on behalf is decided."""
    least = cutoff_blocks + LEAST_FORCE_CLOSE_BLOCKS
    most = cutoff_blocks + policy.on_behalf_margin_blocks
    if not least <= policy.settle_force_close_blocks <= most:
        raise ValueError(
            f"settle_force_close_blocks = {policy.settle_force_close_blocks} is out of range: "
            f"set it to {least} or more, and to {most} or less. "
            f"This node may fail a claimed HTLC from {cutoff_blocks} blocks before its expiry on; "
            f"with more than {most}, which is that plus on_behalf_margin_blocks = {policy.on_behalf_margin_blocks}, "
            "a channel would be closed as soon as the LSP claims an HTLC on it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PayerPolicy:
    """slack_blocks: how long the payee may take to release. return_blocks: the blocks after that which the payer has to
    come back online before its own channel is in danger.
    invoice_margin_seconds: a payment is held until this long before its invoice expires, at most.
    request_seconds, request_repeats: the pause between two unanswered requests, and how many follow the first.
    request_most_seconds: while the node pays, the pauses between requests double up to this; so do those between copies
    of the message for the payee, if the wallet and not its LSP repeats it.
    cancel_seconds: the pause between two unanswered cancels; doubles up to cancel_most_seconds.
    pay_timeout_seconds: the node begins no new attempt after this; less than the LSP waits for a set of parts.
    max_parts: the most parts of one payment.
    fee_base_msat, fee_per_million: their sum is the most that a payment may cost.
    track_again_seconds: the pause before the node is asked again for a payment whose progress is not followed.
    quiet_seconds: how long an order to pay that was sent before the wallet or the node stopped may still reach the
    node. Linux sends data that a dead process left in a socket for minutes (tcp_orphan_retries), but not for ten.
    """

    slack_blocks: int = 432
    return_blocks: int = 144
    invoice_margin_seconds: int = 600
    request_seconds: float = 10
    request_repeats: int = 3
    request_most_seconds: float = 600
    cancel_seconds: float = 10
    cancel_most_seconds: float = 600
    pay_timeout_seconds: int = 60
    max_parts: int = 16
    fee_base_msat: int = 10_000
    fee_per_million: int = 10_000
    track_again_seconds: float = 5
    quiet_seconds: float = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class DialPolicy:
    """When the wallet lets its node dial the LSP while the two are not connected.

    dial_first_seconds: the pause between the first two attempts; doubles up to dial_most_seconds. After a push, or when
    the network is back, the next attempt is made immediately, but at least this long after the last one.
    dial_most_seconds: the longest pause. A connection that lasted for less does not reset the pauses.
    dial_jitter: the fraction by which each pause is longer or shorter, at random.
    """

    dial_first_seconds: float = 1
    dial_most_seconds: float = 300
    dial_jitter: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class PayeePolicy:
    """release_seconds: the pause between two releases of one claim; doubles up to release_most_seconds.
    max_releases: the most releases of one claim, until it is announced again.
    max_claims: the most live claims for one payment hash.
    unsynced_seconds: the pause before a release is tried again for which the node was not ready; a new block ends it.
    old_tip_seconds: how long a node that reports its best block as too old must stay connected without a new block
    until it counts as synced: by then bitcoind drops a dead connection (TIMEOUT_INTERVAL).
    max_remembered: the most finished claims that are kept, so that strangers cannot fill the disk; unproven ones are
    deleted first, and the oldest of each kind before the others.
    accept_unproven: whether a payment is also released if its announcement does not prove that it comes from a holder
    of the invoice; payers of other implementations may send such announcements. Then everyone who knows a payment hash
    can find out whether this node waits for it.
    max_unproven_claims, max_unproven: the most live claims that are not proven, for one payment hash and in total.
    """

    release_seconds: float = 10
    release_most_seconds: float = 600
    max_releases: int = 20
    max_claims: int = 3
    unsynced_seconds: float = 60
    old_tip_seconds: float = 1200
    max_remembered: int = 1000
    accept_unproven: bool = False
    max_unproven_claims: int = 3
    max_unproven: int = 30
