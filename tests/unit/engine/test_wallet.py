"""Both sides of a wallet as one engine."""

from asyncpay.engine.core import Detached, Put, Tick
from asyncpay.engine.payee.engine import Payee
from asyncpay.engine.payee.interface import Announced, LookUpInvoices, SendRelease
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payer.engine import Payer
from asyncpay.engine.payer.interface import Ordered, SendToLsp
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.policy import PayeePolicy, PayerPolicy
from asyncpay.engine.wallet import Wallet
from asyncpay.lightning import ChannelId, Link
from asyncpay.node_events import Attached, InvoicePaid

from .payee.harness import HASH, PATH, PID, PayeeHarness, pending
from .payer.factories import CHANNEL, LSP, PAYER, START, order

ATTACHED = Attached(
    node_id=PAYER,
    network="regtest",
    height=500,
    links=(Link(channel_id=ChannelId.from_name(CHANNEL), short_channel_id=CHANNEL, peer=LSP, usable=True),),
    online=frozenset({LSP}),
)
ANNOUNCED = Announced(
    pending(),
    PATH,
    PayeeHarness().known((HASH,)),
)


def wallet() -> Wallet:
    made = Wallet(Payer(PayerPolicy()), Payee(PayeePolicy()))
    made.handle(START, ATTACHED)
    return made


def test_each_side_gets_its_own_events() -> None:
    both = wallet()
    paying = both.handle(START, Ordered(order()))
    assert [type(change.record) for change in paying.changes] == [OutgoingPayment] * 2
    assert any(isinstance(effect, SendToLsp) for effect in paying.effects)
    being_paid = both.handle(START, ANNOUNCED)
    assert {type(change.record) for change in being_paid.changes} == {Claim}
    assert any(isinstance(effect, SendRelease) for effect in being_paid.effects)
    assert both.handle(START, InvoicePaid(HASH, 1000)).changes
    assert both.payee.state.claims[PID].paid == (HASH,)


def test_both_sides_get_what_happens_to_the_node_in_one_step() -> None:
    both = wallet()
    both.handle(START, Ordered(order()))
    both.handle(START, ANNOUNCED)
    both.handle(START, Detached())
    assert both.next_deadline == START + 86_401  # nothing but the payment's deadline goes on without a node
    step = both.handle(START + 1, ATTACHED)
    assert {type(change.record) for change in step.changes} == {OutgoingPayment, Claim}
    assert {SendToLsp, SendRelease, LookUpInvoices} <= {type(effect) for effect in step.effects}


def test_both_sides_hear_of_the_time_whoever_the_event_is_for() -> None:
    both = wallet()
    both.handle(START, ANNOUNCED)
    assert both.next_deadline == START + 10
    step = both.handle(START + 10, Ordered(order()))
    assert any(isinstance(effect, SendRelease) for effect in step.effects)
    assert both.next_deadline == START + 20
    assert any(isinstance(effect, SendToLsp) for effect in both.handle(START + 20, ANNOUNCED).effects)
    assert both.next_deadline == START + 30


def test_it_starts_again_from_what_was_stored() -> None:
    both = wallet()
    steps = [both.handle(START, event) for event in (Ordered(order()), ANNOUNCED)]
    records = {change.record.key: change.record for step in steps for change in step.changes if isinstance(change, Put)}
    again = Wallet(
        Payer(PayerPolicy(), [each for each in records.values() if isinstance(each, OutgoingPayment)]),
        Payee(PayeePolicy(), [each for each in records.values() if isinstance(each, Claim)]),
    )
    assert again.next_deadline < START, "a new engine wants to hear of the time at once"
    again.handle(START, Tick())
    assert list(again.payer.state.payments) == list(both.payer.state.payments)
    assert list(again.payee.state.claims) == list(both.payee.state.claims)
