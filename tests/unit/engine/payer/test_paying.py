"""The node pays once, and its word alone ends what it may have begun."""

import pytest

from asyncpay.engine.payer.effects import Pay, Track
from asyncpay.engine.payer.events import PaymentReported
from asyncpay.engine.payer.policy import PayerPolicy
from asyncpay.engine.payer.stages import Stage
from asyncpay.lightning import PaymentResult
from asyncpay.wire.messages import BlockState, CancelRequest

from .given import AMOUNT, FAILED, HASH, HEIGHT, IN_FLIGHT, LSP, PREIMAGE, START, SUCCEEDED, UNKNOWN
from .world import World, in_stage


def paying(**changes: object) -> World:
    """The node pays; what the LSP says is lost."""
    world = World(**changes)  # type: ignore[arg-type]
    world.mute = True
    world.order()
    world.lsp_accepts()
    assert world.stage is Stage.PAYING
    return world


def report(world: World, status: object, **changes: object) -> None:
    world.feed(PaymentReported(HASH, PaymentResult(status=status, **changes)))  # type: ignore[arg-type]


def test_what_the_node_is_told() -> None:
    world = paying(policy=PayerPolicy(pay_timeout_seconds=33))
    assert world.did(Pay) == [
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
    world = World()
    world.order()
    world.lsp_releases()
    world.run()
    assert world.stage is Stage.SETTLED
    assert (world.payment.preimage, world.payment.fee_msat) == (PREIMAGE, 7)
    assert world.payment.ended_at == START
    assert world.payer.state.payments.live() == []
    assert world.payer.next_deadline == float("inf")


@pytest.mark.parametrize("preimage", [None, b"x" * 32])
def test_success_without_the_right_preimage_is_none(preimage: bytes | None) -> None:
    world = paying()
    report(world, SUCCEEDED, preimage=preimage)
    assert world.stage is Stage.PAYING
    report(world, SUCCEEDED, preimage=PREIMAGE)
    assert world.stage is Stage.SETTLED


def test_it_waits_for_a_channel_to_the_lsp() -> None:
    world = World(online=False)
    world.order()
    world.lsp_accepts()
    assert world.stage is Stage.BLOCKED
    assert world.did(Pay) == []
    world.connect()
    assert world.begun == [HASH]


def test_without_the_node_it_waits_whatever_its_channels_were() -> None:
    world = World()
    world.deaf = True
    world.order()
    world.detach()
    world.lsp_accepts()
    assert world.stage is Stage.BLOCKED
    assert world.did(Pay) == []
    world.attach()
    assert world.begun == [HASH]


@pytest.mark.parametrize("how", ["height", "time"])
def test_a_deadline_comes_before_the_channel(how: str) -> None:
    world = World(online=False)
    world.order()
    world.lsp_accepts()
    if how == "height":
        world.mine(432)
        assert world.stage is Stage.BLOCKED
        world.mine()
    else:
        world.sleep(86_400)
        assert world.stage is Stage.BLOCKED
        world.sleep(1)
    assert world.stage is Stage.FAILED
    world.connect()
    assert world.begun == []
    assert world.sent(CancelRequest) == []


def test_after_paying_no_deadline_ends_it_but_the_node() -> None:
    world = paying()
    world.deaf, world.known = True, False  # nor does the LSP end it
    world.height = HEIGHT + 10_000
    world.mine()
    world.sleep(100_000)
    assert world.stage is Stage.PAYING
    world.node_fails("expired")
    world.run()
    assert world.stage is Stage.FAILED


def test_a_failure_is_told_in_the_node_s_words() -> None:
    world = paying()
    world.node_fails("no route")
    world.run()
    assert world.stage is Stage.FAILED
    assert world.payment.failure == "no route"


def test_a_failure_after_the_lsp_returned_the_parts_says_so() -> None:
    world = World()
    world.order()
    world.lsp_returns()
    world.run()
    assert world.payment.failure == "returned by the LSP: temporary channel failure"
    assert world.sent(CancelRequest) == []


@pytest.mark.parametrize("stage", [Stage.HELD, Stage.HANDED_OVER])
def test_a_failure_after_the_parts_were_held_says_so(stage: Stage) -> None:
    world = in_stage(stage)
    world.node_fails("no route")
    world.run()
    assert world.payment.failure == "its parts were held, and came back: no route"


def test_after_a_failure_the_block_is_cancelled() -> None:
    world = paying()
    world.node_fails("no route")
    world.run()
    assert len(world.sent(CancelRequest)) == 1
    assert world.over
    world.mute = False
    world.sleep(100)
    assert world.payment.cancel_next_at is None


def test_a_payment_lost_sight_of_is_asked_for_again() -> None:
    world = paying()
    report(world, IN_FLIGHT)
    assert world.did(Track) == []
    world.sleep(4.9)
    assert world.did(Track) == []
    world.sleep(0.1)
    assert world.did(Track) == [Track(HASH)]
    world.sleep(1000)
    assert len(world.did(Track)) == 1


@pytest.mark.parametrize("stage", [Stage.PAYING, Stage.HELD, Stage.HANDED_OVER])
@pytest.mark.parametrize("how", ["wallet", "node"])
def test_after_a_break_the_node_is_asked_and_not_told_to_pay(stage: Stage, how: str) -> None:
    world = in_stage(stage)
    world.mute = True
    if how == "wallet":
        world.restart()
    else:
        world.detach()
        world.attach()
    assert world.did(Track) == [Track(HASH)]
    assert len(world.did(Pay)) == 1
    world.mute = False
    world.lsp_releases()
    world.run()
    assert world.stage is Stage.SETTLED


def test_an_order_that_never_reached_the_node_is_given_again() -> None:
    world = paying()
    world.node.clear()
    world.begun.clear()
    world.restart()
    assert world.begun == [HASH]
    assert world.stage is Stage.PAYING


def test_such_an_order_waits_for_the_channel_as_at_first() -> None:
    world = paying()
    world.node.clear()
    world.online = False
    world.restart()
    assert world.node == {}
    world.connect()
    world.sleep(5)
    assert list(world.node) == [HASH]


@pytest.mark.parametrize("why", ["cancelled", "height", "time", "returned"])
def test_such_an_order_is_not_given_if_it_is_no_longer_wanted(why: str) -> None:
    world = paying()
    world.deaf = True
    world.node.clear()
    world.begun.clear()
    match why:
        case "cancelled":
            world.cancel()
        case "height":
            world.height = HEIGHT + 433
        case "time":
            world.sleep(86_401)
        case "returned":
            world.update(BlockState.FAILED_BACK)
    world.restart()
    world.sleep(605)
    assert world.begun == []
    assert world.stage is Stage.FAILED
    assert ("cancelled" if why == "cancelled" else "never begun") in world.payment.failure


@pytest.mark.parametrize("stage", [Stage.HELD, Stage.HANDED_OVER])
def test_a_payment_that_the_node_has_forgotten_is_not_made_again(stage: Stage) -> None:
    world = in_stage(stage)
    world.node.clear()
    world.begun.clear()
    world.restart()
    assert world.stage is Stage.FAILED
    assert world.begun == []


@pytest.mark.parametrize("status", [FAILED, UNKNOWN, IN_FLIGHT])
def test_reports_on_what_has_not_begun_or_is_finished_are_ignored(status: object) -> None:
    world = World(online=False)
    world.order()
    world.lsp_accepts()
    report(world, status)
    assert world.stage is Stage.BLOCKED
    world.connect()
    world.sleep(10)
    assert world.did(Track) == []
    world.lsp_releases()
    world.run()
    assert world.stage is Stage.SETTLED
    report(world, status)
    assert world.stage is Stage.SETTLED


def test_a_payment_that_the_wallet_did_not_order_is_none_of_its_business() -> None:
    world = World()
    report(world, SUCCEEDED, preimage=PREIMAGE)
    assert world.stored == {}


def test_an_older_order_that_the_node_paid_by_itself_is_not_paid_again() -> None:
    """The user has paid the same invoice by other means: the node's record stands."""
    world = World()
    world.node_succeeds()
    world.order()
    assert world.begun == []
    assert world.stage is Stage.SETTLED
