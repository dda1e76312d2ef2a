"""Messages from a stranger with a channel to the LSP (requests, announcements, floods), and waits for the handling."""

import secrets
import time
from hashlib import sha256

from asyncpay.lightning import Invoice
from asyncpay.wire import blinding, messages, onion, tlv
from asyncpay.wire.blinding import Hop, HopData
from asyncpay.wire.messages import (
    BlockReply,
    BlockStatus,
    PaymentPending,
    PaymentRelease,
    ReleaseReply,
    ReleaseStatus,
)
from asyncpay.wire.onion import Payload
from harness.waits import Predicate, wait_for
from tests.support.payment_harness import AMOUNT_MSAT, PaymentCase, PaymentHarness
from tests.support.scripted_peer import Hold, ScriptedPeer

from .scripted_payer import announcement

HASHES, SIGNATURE = 2, 10
"""Records of a block_request."""
MAILBOX_MESSAGES = 50
FLOOD = 60
"""More than fit in a mailbox, and more than LND queues: LND may drop some of them."""


def lsp_id(payments: PaymentHarness) -> bytes:
    return bytes.fromhex(payments.testbed["LSP"].node_id)


def b_id(payments: PaymentHarness) -> bytes:
    return bytes.fromhex(payments.b.node.node_id)


def read(stranger: ScriptedPeer, case: PaymentCase) -> Invoice:
    return stranger.run(stranger.node.decode_invoice(case.invoice))


def wait_until_dealt_with(payments: PaymentHarness, stranger: ScriptedPeer) -> None:
    """Wait until the LSP has handled all of the stranger's messages: it answers a request that was sent after them.

    When many messages are queued, LND drops new ones, also this one: so the request is repeated until it is answered.
    """
    pid = secrets.token_bytes(32)
    answer = ReleaseReply(unblock_hash=messages.unblock_hash(pid), status=ReleaseStatus.UNKNOWN)

    def missing() -> str | None:
        if answer in stranger.inbox:
            return None
        stranger.send(lsp_id(payments), PaymentRelease(pid=pid), reply_to_me=True)
        return f"got {stranger.inbox}"

    wait_for(Predicate("stranger_answered", missing), 60, interval_seconds=1)


def request_for(
    payments: PaymentHarness, sender: ScriptedPeer, payment_hashes: int
) -> tuple[messages.BlockRequest, bytes]:
    """Return a request for one payment, and the encoding of a signed request for this number of payments."""
    request = messages.BlockRequest(
        unblock_hash=secrets.token_bytes(32),
        payment_hashes=(secrets.token_bytes(32),),
        amount_msat=AMOUNT_MSAT,
        release_by_height=payments.testbed.chain.height_blocks + 10,
        hold_until=int(time.time()) + 600,
        signature=messages.UNSIGNED,
    )
    records = request.to_records(without=SIGNATURE) | {HASHES: secrets.token_bytes(32 * payment_hashes)}
    digest = sha256(tlv.encode(records)).hexdigest()
    text = f"async-payments:block_request:{lsp_id(payments).hex()}:{digest}"
    records[SIGNATURE] = sender.run(sender.node.sign(text))
    return request, bytes([request.kind]) + tlv.encode(records)


def kept_for_b(payments: PaymentHarness) -> int:
    """Return the number of messages in the payee's mailbox. While there are any, a sleeping payee is woken again."""
    mailbox = payments.testbed.lsp("LSP").status()["mailbox"].get(b_id(payments).hex())
    return 0 if mailbox is None else int(mailbox["messages"])


def flood(payments: PaymentHarness, stranger: ScriptedPeer) -> None:
    """Send more messages than the payee's mailbox accepts: it is full, and within its limit."""
    payments.record_fault("mailbox flood")

    def missing() -> str | None:
        stranger.send(b_id(payments), announcement(secrets.token_bytes(32), 1), via=[lsp_id(payments)])
        kept = kept_for_b(payments)
        assert kept <= MAILBOX_MESSAGES
        return None if kept == MAILBOX_MESSAGES else f"{kept} messages"

    for _ in range(FLOOD):
        stranger.send(b_id(payments), announcement(secrets.token_bytes(32), 1), via=[lsp_id(payments)])
    wait_until_dealt_with(payments, stranger)
    wait_for(Predicate("mailbox_full", missing), 60)


def announce(payments: PaymentHarness, stranger: ScriptedPeer, message: PaymentPending) -> None:
    """Send the announcement to B, with a reply path to the stranger, which would receive a release or a refusal."""
    back = blinding.build([Hop(stranger.node_id, HopData(path_id=bytes(32)))], secrets.token_bytes(32))
    path = blinding.build(stranger.hops(lsp_id(payments), b_id(payments)), secrets.token_bytes(32))
    payload = Payload(async_payment=message.encode(), reply_path=back)
    stranger.send_onion(lsp_id(payments), onion.build(path, payload, secrets.token_bytes(32)))


def ask_all(stranger: ScriptedPeer, holds: list[Hold]) -> None:
    """Send all requests; all are accepted, except those beyond the client's limit, which includes its earlier blocks.

    LND drops messages that arrive too fast: so a few requests are sent at a time, and repeated until answered.
    """

    def missing() -> str | None:
        replies = {each.unblock_hash: each.status for each in stranger.inbox if isinstance(each, BlockReply)}
        assert set(replies.values()) <= {BlockStatus.ACCEPTED, BlockStatus.TOO_MANY_HOLDS}
        unanswered = [hold for hold in holds if hold.request.unblock_hash not in replies]
        for hold in unanswered[:20]:
            stranger.send(hold.lsp_id, hold.request)
        return f"{len(unanswered)} of {len(holds)} not answered" if unanswered else None

    wait_for(Predicate("all_answered", missing), 180)
