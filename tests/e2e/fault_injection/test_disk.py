"""The LSP's disk is full, or its database damaged, while it holds a payment: it reports that, and no money is lost."""

from collections.abc import Callable

import pytest

from harness.services.lsp import DATA_DIR, interceptor_attached
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.payment_harness import PaymentCase, PaymentHarness

pytestmark = pytest.mark.seconds(15)

FILL = f"cat /dev/zero > {DATA_DIR}/filler; sync"
EMPTY = f"rm {DATA_DIR}/filler"
KEEP = f"cp {DATA_DIR}/lsp.sqlite* /tmp/"
DAMAGE = f"dd if=/dev/urandom of={DATA_DIR}/lsp.sqlite bs=1000 seek=5 count=5 conv=notrunc"
RESTORE = f"rm {DATA_DIR}/lsp.sqlite*; cp /tmp/lsp.sqlite* {DATA_DIR}/"


@pytest.fixture(scope="module")
def testbed(pocket: Testbed, lsp_disk: str) -> Testbed:
    return pocket


@pytest.fixture
def disk(testbed: Testbed, lsp_disk: str) -> Callable[[str], object]:
    """Return a function that runs a shell script on the LSP's disk, whether the LSP runs or not."""
    return lambda script: testbed.engine.output(lsp_disk, ["sh", "-c", script])


def held(payments: PaymentHarness) -> PaymentCase:
    case = payments.new_case()
    payments.b.disconnect()
    case.hand_over()
    payments.wait_for_htlcs(A=1, LSP=1)
    return case


def assert_paid_when_the_payee_is_back(payments: PaymentHarness, case: PaymentCase) -> None:
    wait_for(interceptor_attached(payments.testbed.lsp("LSP")), 60)
    payments.b.reconnect()
    case.wait_until_paid()
    payments.assert_paid(case)


class Log:
    """The log of the LSP's component from now on."""

    def __init__(self, payments: PaymentHarness) -> None:
        self._engine = payments.testbed.engine
        self._service = payments.testbed.lsp("LSP").name
        self._so_far = len(self._engine.logs(self._service))

    def wait_for(self, words: str) -> None:
        def missing() -> str | None:
            said = self._engine.logs(self._service)[self._so_far :].decode()
            return None if words in said else f"{said[-500:]!r}"

        wait_for(Predicate("said", missing), 60)


def wait_until_it_ends(payments: PaymentHarness) -> None:
    """Wait until the component has exited with an error, without any action."""
    testbed, name = payments.testbed, payments.testbed.lsp("LSP").name
    ended = Predicate("ended", lambda: f"{name} runs" if testbed.engine.exit_code(name) is None else None)
    wait_for(ended, 60)
    assert testbed.engine.exit_code(name) == 2


def test_disk_full_while_a_payment_is_held(payments: PaymentHarness, disk: Callable[[str], object]) -> None:
    """No decision is acted upon that could not be stored; when there is space again it continues by itself."""
    case = held(payments)
    payments.record_fault("disk full")
    log = Log(payments)
    disk(FILL)
    payments.b.reconnect()

    log.wait_for("lsp.sqlite cannot be written or read")
    payments.wait_for_htlcs(A=1, LSP=1, B=0)

    disk(EMPTY)
    assert_paid_when_the_payee_is_back(payments, case)


def test_started_on_a_full_disk_it_refuses(payments: PaymentHarness, disk: Callable[[str], object]) -> None:
    lsp = payments.testbed.lsp("LSP")
    case = held(payments)
    payments.record_fault("disk full")
    lsp.stop()
    disk(FILL)

    log = Log(payments)
    lsp.start()
    wait_until_it_ends(payments)
    log.wait_for("Check free disk space and file permissions; nothing was lost")
    payments.wait_for_htlcs(A=1, LSP=1, B=0)

    disk(EMPTY)
    lsp.start()
    assert_paid_when_the_payee_is_back(payments, case)


def test_with_a_damaged_database_it_refuses(payments: PaymentHarness, disk: Callable[[str], object]) -> None:
    lsp = payments.testbed.lsp("LSP")
    case = held(payments)
    payments.record_fault("database damaged")
    lsp.stop()
    disk(KEEP)
    disk(DAMAGE)

    log = Log(payments)
    lsp.start()
    wait_until_it_ends(payments)
    log.wait_for("lsp.sqlite is damaged")
    payments.wait_for_htlcs(A=1, LSP=1, B=0)

    disk(RESTORE)
    lsp.start()
    assert_paid_when_the_payee_is_back(payments, case)
