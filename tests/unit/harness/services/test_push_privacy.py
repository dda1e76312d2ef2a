"""What a push may say, and that anything more is found."""

import pytest

from asyncpay.engine.lsp.records import Method
from asyncpay.lsps.notifications import WEBHOOK_REGISTERED, Notification
from harness.inside.interface import Push
from harness.services.push_gateway import PrivacyError, check_privacy

HEX = "02" + "ab" * 32


def push(body: str) -> Push:
    return Push(time=0, phone="A", method=None, body=body)


def test_all_that_our_lsp_says_is_harmless() -> None:
    bodies = [Notification.of(method).body() for method in (*Method, WEBHOOK_REGISTERED)]
    check_privacy(push(body) for body in [*bodies, Notification.of(Method.EXPIRY_SOON, timeout=144).body()])


@pytest.mark.parametrize(
    "body",
    [
        f'{{"jsonrpc":"2.0","method":"lsps5.payment_incoming","params":{{"hash":"{HEX}"}}}}',
        f'{{"jsonrpc":"2.0","method":"lsps5.{HEX}","params":{{}}}}',
        f'{{"jsonrpc":"2.0","method":"lsps5.payment_incoming","params":{{}},"id":"{HEX}"}}',
        '{"jsonrpc":"2.0","method":"lsps5.payment_incoming","params":{"timeout":144}}',
        f'{{"jsonrpc":"2.0","method":"lsps5.expiry_soon","params":{{"timeout":"{HEX}"}}}}',
        '{"jsonrpc":"2.0","method":"lsps5.expiry_soon","params":{"timeout":25000000}}',
        '{"jsonrpc":"2.0","method":"lsps5.payment_incoming"}',
        '["lsps5.payment_incoming"]',
        HEX,
        "",
    ],
)
def test_anything_else_is_not(body: str) -> None:
    with pytest.raises(PrivacyError, match="a push to A contains more"):
        check_privacy([push(Notification.of(Method.ONION_MESSAGE).body()), push(body)])
