"""The node pays once, and its word alone ends what it may have begun."""

import pytest

from asyncpay.engine.payer.interface import Pay, PaymentReported, Track
from asyncpay.engine.payer.states import State
from asyncpay.engine.policy import PayerPolicy
from asyncpay.lightning import PaymentResult
from asyncpay.wire.messages import BlockState, CancelRequest

from .factories import AMOUNT, FAILED, HASH, HEIGHT, IN_FLIGHT, LSP, PREIMAGE, START, SUCCEEDED, UNKNOWN
from .harness import PayerHarness, in_state


def paying(**changes: object) -> PayerHarness:
    """The node pays; what the LSP says is lost."""
    harness = PayerHarness(**changes)  # type: ignore[arg-type]
    harness.blackhole_from_lsp = True
    harness.order()
    harness.lsp_accepts()
    assert harness.state is State.PAYING
    return harness


def report(harness: PayerHarness, status: object, **changes: object) -> None:
    harness.feed(PaymentReported(HASH, PaymentResult(status=status, **changes)))  # type: ignore[arg-type]


def test_what_the_node_is_told() -> None:
    harness = paying(policy=PayerPolicy(pay_timeout_seconds=33))
    assert harness.did(Pay) == [
        Pay(
            payment_hash=HASH,
            lsp=LSP,
            invoice="lnbcrt1",
            amount_msat=AMOUNT,
            fee_limit_msat=20,
            cltv_limit_blocks=2016,
            slack_blocks=576,
            max_parts=16,
            max_part_msat=400,
            timeout_seconds=33,
        )
    ]


def test_settled_with_the_proof() -> None:
    harness = PayerHarness()
    harness.order()
    harness.lsp_releases()
    harness.run()
    assert harness.state is State.SETTLED
    assert (harness.payment.preimage, harness.payment.fee_msat) == (PREIMAGE, 7)
    assert harness.payment.ended_at == START
    assert harness.engine.state.payments.live() == []
    assert harness.engine.next_deadline == float("inf")


@pytest.mark.parametrize("preimage", [None, b"x" * 32])
def test_success_without_the_right_preimage_is_none(preimage: bytes | None) -> None:
    harness = paying()
    report(harness, SUCCEEDED, preimage=preimage)
    assert harness.state is State.PAYING
    report(harness, SUCCEEDED, preimage=PREIMAGE)
    assert harness.state is State.SETTLED


def test_it_waits_for_a_channel_to_the_lsp() -> None:
    harness = PayerHarness(online=False)
    harness.order()
    harness.lsp_accepts()
    assert harness.state is State.BLOCKED
    assert harness.did(Pay) == []
    harness.connect()
    assert harness.begun == [HASH]


def test_without_the_node_it_waits_whatever_its_channels_were() -> None:
    harness = PayerHarness()
    harness.blackhole_to_lsp = True
    harness.order()
    harness.detach()
    harness.lsp_accepts()
    assert harness.state is State.BLOCKED
    assert harness.did(Pay) == []
    harness.attach()
    assert harness.begun == [HASH]


@pytest.mark.parametrize("how", ["height", "time"])
def test_a_deadline_comes_before_the_channel(how: str) -> None:
    harness = PayerHarness(online=False)
    harness.order()
    harness.lsp_accepts()
    if how == "height":
        harness.mine(432)
        assert harness.state is State.BLOCKED
        harness.mine()
    else:
        harness.sleep(86_400)
        assert harness.state is State.BLOCKED
        harness.sleep(1)
    assert harness.state is State.FAILED
    harness.connect()
    assert harness.begun == []
    assert harness.sent(CancelRequest) == []


def test_after_paying_no_deadline_ends_it_but_the_node() -> None:
    harness = paying()
    harness.blackhole_to_lsp, harness.known = True, False  # nor does the LSP end it
    harness.height = HEIGHT + 10_000
    harness.mine()
    harness.sleep(100_000)
    assert harness.state is State.PAYING
    harness.node_fails("expired")
    harness.run()
    assert harness.state is State.FAILED


def test_a_failure_is_told_in_the_node_s_words() -> None:
    harness = paying()
    harness.node_fails("no route")
    harness.run()
    assert harness.state is State.FAILED
    assert harness.payment.failure == "no route"


def test_a_failure_after_the_lsp_returned_the_parts_says_so() -> None:
    harness = PayerHarness()
    harness.order()
    harness.lsp_returns()
    harness.run()
    assert harness.payment.failure == "returned by the LSP: temporary channel failure"
    assert harness.sent(CancelRequest) == []


@pytest.mark.parametrize("state", [State.HELD, State.HANDED_OVER])
def test_a_failure_after_the_parts_were_held_says_so(state: State) -> None:
    harness = in_state(state)
    harness.node_fails("no route")
    harness.run()
    assert harness.payment.failure == "its parts were held, then returned: no route"


def test_after_a_failure_the_block_is_cancelled() -> None:
    harness = paying()
    harness.node_fails("no route")
    harness.run()
    assert len(harness.sent(CancelRequest)) == 1
    assert harness.over
    harness.blackhole_from_lsp = False
    harness.sleep(100)
    assert harness.payment.cancel_next_at is None


def test_a_payment_lost_sight_of_is_asked_for_again() -> None:
    harness = paying()
    report(harness, IN_FLIGHT)
    assert harness.did(Track) == []
    harness.sleep(4.9)
    assert harness.did(Track) == []
    harness.sleep(0.1)
    assert harness.did(Track) == [Track(HASH)]
    harness.sleep(1000)
    assert len(harness.did(Track)) == 1


@pytest.mark.parametrize("state", [State.PAYING, State.HELD, State.HANDED_OVER])
@pytest.mark.parametrize("how", ["wallet", "node"])
def test_after_a_break_the_node_is_asked_and_not_told_to_pay(state: State, how: str) -> None:
    harness = in_state(state)
    harness.blackhole_from_lsp = True
    if how == "wallet":
        harness.restart()
    else:
        harness.detach()
        harness.attach()
    assert harness.did(Track) == [Track(HASH)]
    assert len(harness.did(Pay)) == 1
    harness.blackhole_from_lsp = False
    harness.lsp_releases()
    harness.run()
    assert harness.state is State.SETTLED


def test_an_order_that_never_reached_the_node_is_given_again() -> None:
    harness = paying()
    harness.node.clear()
    harness.begun.clear()
    harness.restart()
    assert harness.begun == [HASH]
    assert harness.state is State.PAYING


def test_such_an_order_waits_for_the_channel_as_at_first() -> None:
    harness = paying()
    harness.node.clear()
    harness.online = False
    harness.restart()
    assert harness.node == {}
    harness.connect()
    harness.sleep(5)
    assert list(harness.node) == [HASH]


@pytest.mark.parametrize("why", ["cancelled", "height", "time", "returned"])
def test_such_an_order_is_not_given_if_it_is_no_longer_wanted(why: str) -> None:
    harness = paying()
    harness.blackhole_to_lsp = True
    harness.node.clear()
    harness.begun.clear()
    match why:
        case "cancelled":
            harness.cancel()
        case "height":
            harness.height = HEIGHT + 433
        case "time":
            harness.sleep(86_401)
        case "returned":
            harness.update(BlockState.FAILED_BACK)
    harness.restart()
    harness.sleep(605)
    assert harness.begun == []
    assert harness.state is State.FAILED
    assert ("cancelled" if why == "cancelled" else "never begun") in harness.payment.failure


@pytest.mark.parametrize("state", [State.HELD, State.HANDED_OVER])
def test_a_payment_that_the_node_has_forgotten_is_not_made_again(state: State) -> None:
    harness = in_state(state)
    harness.node.clear()
    harness.begun.clear()
    harness.restart()
    assert harness.state is State.FAILED
    assert harness.begun == []


@pytest.mark.parametrize("status", [FAILED, UNKNOWN, IN_FLIGHT])
def test_reports_on_what_has_not_begun_or_is_finished_are_ignored(status: object) -> None:
    harness = PayerHarness(online=False)
    harness.order()
    harness.lsp_accepts()
    report(harness, status)
    assert harness.state is State.BLOCKED
    harness.connect()
    harness.sleep(10)
    assert harness.did(Track) == []
    harness.lsp_releases()
    harness.run()
    assert harness.state is State.SETTLED
    report(harness, status)
    assert harness.state is State.SETTLED


def test_a_payment_that_the_wallet_did_not_order_is_none_of_its_business() -> None:
    harness = PayerHarness()
    report(harness, SUCCEEDED, preimage=PREIMAGE)
    assert harness.stored == {}


def test_an_older_order_that_the_node_paid_by_itself_is_not_paid_again() -> None:
    """The user has paid the same invoice by other means: the node's record stands."""
    harness = PayerHarness()
    harness.node_succeeds()
    harness.order()
    assert harness.begun == []
    assert harness.state is State.SETTLED
