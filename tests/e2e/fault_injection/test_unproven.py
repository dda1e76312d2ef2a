"""A payer of another implementation sends no proof; a payee that accepts that is paid."""

import pytest

from asyncpay.wire.messages import BlockState
from harness.topology import Topology
from tests.support.implementations import IMPLEMENTATIONS, all_on
from tests.support.payment_harness import PaymentHarness

from .scripted_payer import scripted_payer

AMOUNT_MSAT = 1_234_000


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def topology(request: pytest.FixtureRequest) -> Topology:
    return all_on(request.param, "lenient-payee.yaml")


def test_a_payment_without_a_proof_is_released_where_the_payee_accepts_it(payments: PaymentHarness) -> None:
    with scripted_payer(payments) as scripted:
        hold = scripted.hold(scripted.invoice(AMOUNT_MSAT)).ask().pay().update(BlockState.HELD)
        hold.announce(scripted.payee, proven=False)
        scripted.assert_paid(hold)
