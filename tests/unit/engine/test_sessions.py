"""What a connected client is sent: in its order, no faster than it can take it, and the urgent first."""

from hashlib import sha256

from asyncpay.engine.core import Tick
from asyncpay.engine.lsp.interface import Deliver, Delivery, DeliveryReported, SendToClient
from asyncpay.engine.lsp.sessions import MAX_WAITING_ANSWERS
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import NodeId
from asyncpay.wire.messages import BlockReply, BlockState, BlockUpdate, unblock_hash

from .factories import CHANNEL_A, CHANNEL_B, PID, A, B, CautiousHop, cln
from .harness import LspHarness
from .test_mailbox import send

PAYMENTS = 10


def paced() -> LspHarness:
    return LspHarness(cln(), policy=LspPolicy(on_behalf_min_part_msat=0))


def ask(harness: LspHarness, number: int, client: NodeId = A) -> None:
    """Ask for the block of this client's payment: its first request, or the same again."""
    pid = number.to_bytes(32, "big")
    harness.block(client, pid=pid, payment_hashes=(sha256(b"preimage %d" % number).digest(),))


def hold(harness: LspHarness, number: int, client: NodeId = A) -> None:
    ask(harness, number, client)
    channel = CHANNEL_A if client == A else CHANNEL_B
    harness.pay(payment_hash=sha256(b"preimage %d" % number).digest(), peer=client, channel=channel)


def follow(harness: LspHarness, seconds: float, client: NodeId = A) -> tuple[CautiousHop, list[SendToClient | Deliver]]:
    """What the client gets in this time, and what was sent to it in its order."""
    phone, sent, end = CautiousHop(), list[SendToClient | Deliver](), harness.now + seconds
    while True:
        for effect in harness.effects:
            if isinstance(effect, SendToClient | Deliver) and effect.client == client:
                phone.take(harness.now, str(effect).encode())
                sent.append(effect)
        harness.effects.clear()
        if harness.engine.next_deadline > end:
            break
        harness.now = max(harness.now, harness.engine.next_deadline)
        harness.feed(Tick())
    harness.now = end
    return phone, sent


def with_messages_and_payments() -> LspHarness:
    """A is away; PAYMENTS of its own are held, and 5 messages wait for it."""
    harness = paced()
    for number in range(PAYMENTS):
        hold(harness, number)
        harness.sleep(2)
    harness.disconnect(A)
    for number in range(5):
        send(harness, number, to=A)
    harness.sleep(60)
    harness.effects.clear()
    return harness


def test_a_phone_with_many_payments_that_reconnects_loses_nothing() -> None:
    """It asks for all of its blocks again, as a wallet does, while its mailbox is delivered."""
    harness = with_messages_and_payments()
    harness.connect(A)
    for number in range(PAYMENTS):
        ask(harness, number)
    phone, sent = follow(harness, 20)
    assert phone.dropped == 0
    replies = [each for each in sent if isinstance(each, SendToClient) and isinstance(each.message, BlockReply)]
    updates = [each for each in sent if isinstance(each, SendToClient) and isinstance(each.message, BlockUpdate)]
    delivered = [each for each in sent if isinstance(each, Deliver)]
    assert (len(replies), len(delivered)) == (PAYMENTS, 5)
    assert len({each.message.unblock_hash for each in updates}) == PAYMENTS
    assert len(updates) <= PAYMENTS + 3, "some were told before A asked"


def test_answers_go_before_what_lies_in_the_mailbox() -> None:
    harness = with_messages_and_payments()
    harness.connect(A)
    for number in range(PAYMENTS):
        ask(harness, number)
    _, sent = follow(harness, 20)
    kinds = [type(each) for each in sent]
    first = kinds.index(Deliver)
    assert kinds[first:].count(SendToClient) <= 2 * PAYMENTS - 3, "one message may have left before A asked"
    assert kinds[-4:] == [Deliver] * 4


def test_a_reply_and_the_update_after_it_do_not_wait() -> None:
    harness = paced()
    harness.block()
    harness.pay()
    assert [type(each.message) for each in harness.did(SendToClient)] == [BlockReply, BlockUpdate]


def test_an_update_that_waits_says_once_what_is_so_when_it_leaves() -> None:
    harness = paced()
    for number in range(PAYMENTS):
        ask(harness, number)
    harness.block()
    harness.pay(amount_msat=1000)
    harness.release()
    _, sent = follow(harness, 20)
    updates = [
        each.message for each in sent if isinstance(each, SendToClient) and isinstance(each.message, BlockUpdate)
    ]
    assert [each.state for each in updates if each.unblock_hash == unblock_hash(PID)] == [BlockState.RELEASED]


def test_one_client_that_asks_too_much_delays_only_itself_and_takes_up_little() -> None:
    harness = paced()
    for number in range(1000):
        harness.cancel(A, pid=number.to_bytes(32, "big"))
    ask(harness, 5000, B)
    replied = [each.message for each in harness.did(SendToClient) if each.client == B]
    assert replied == [BlockReply(unblock_hash=unblock_hash((5000).to_bytes(32, "big")), status=replied[0].status)]
    assert len(harness.engine.state.sessions[A].answers) == MAX_WAITING_ANSWERS
    phone, sent = follow(harness, 60)
    assert len(sent) == MAX_WAITING_ANSWERS + 3
    assert phone.dropped == 0


def test_a_missed_delivery_delays_no_answer() -> None:
    harness = with_messages_and_payments()
    harness.deliveries_hang = True
    harness.connect(A)
    _, sent = follow(harness, 20)
    (first,) = (each for each in sent if isinstance(each, Deliver))
    harness.feed(DeliveryReported(A, first.message_id, Delivery.NOT_CONNECTED))
    ask(harness, 0)
    assert [type(each.message) for each in harness.did(SendToClient)][:1] == [BlockReply]


def test_what_waited_is_not_sent_to_a_client_that_has_gone() -> None:
    harness = paced()
    for number in range(PAYMENTS):
        ask(harness, number)
    harness.effects.clear()
    harness.disconnect(A)
    harness.sleep(60)
    assert [each for each in harness.did(SendToClient) if each.client == A] == []
