"""A payer of another implementation proves nothing; a payee that accepts that is paid all the same."""

import pytest

from asyncpay.wire.messages import BlockState
from harness.topology import Topology
from tests.support.implementations import CLN_IN_FULL, all_on
from tests.support.payment_harness import Scene

from .scripted_payer import payer_by_hand

AMOUNT_MSAT = 1_234_000


@pytest.fixture(scope="module", params=CLN_IN_FULL)
def topology(request: pytest.FixtureRequest) -> Topology:
    return all_on(request.param, "lenient-payee.yaml")


def test_a_payment_without_a_proof_is_released_where_the_payee_accepts_it(scene: Scene) -> None:
    with payer_by_hand(scene) as by_hand:
        hold = by_hand.hold(by_hand.invoice(AMOUNT_MSAT)).ask().pay().update(BlockState.HELD)
        hold.announce(by_hand.payee, proven=False)
        by_hand.assert_paid(hold)
