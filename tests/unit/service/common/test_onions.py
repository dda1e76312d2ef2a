"""An onion that begins at its own maker."""

import secrets

from coincurve import PrivateKey

from asyncpay.service.common import onions
from asyncpay.wire import onion
from asyncpay.wire.messages import PaymentRelease
from asyncpay.wire.onion import SMALL_ROOM, Final, Forward


def test_what_the_next_node_gets_is_what_this_one_would_have_passed_on() -> None:
    keys = [PrivateKey(secrets.token_bytes(32)) for _ in range(3)]
    route = [key.public_key.format() for key in keys]
    message = PaymentRelease(pid=bytes(32))

    sent, next_one = onions.wrap_from_here(route, message, rooms=(SMALL_ROOM,))

    passed_on = onion.peel(sent.packet, sent.path_key, keys[0].ecdh)
    assert isinstance(passed_on, Forward)
    assert passed_on.message == next_one
    second = onion.peel(next_one.packet, next_one.path_key, keys[1].ecdh)
    assert isinstance(second, Forward)
    assert second.data.next_node_id == route[2]
    last = onion.peel(second.message.packet, second.message.path_key, keys[2].ecdh)
    assert isinstance(last, Final)
    assert last.payload.async_payment == message.encode()
