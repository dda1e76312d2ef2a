"""Notifications: the bytes of bLIP-55, and a receiver that believes only its LSP, and only once."""

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from asyncpay.engine.lsp.records import Method
from asyncpay.lsps import notifications
from asyncpay.lsps.notifications import MAX_AGE_SECONDS, Notification, Receiver, RefusedNotificationError
from asyncpay.wire import signature

from .support import LSP, LSP_KEY, sign

NOW = 1_683_197_578.395
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def signed(
    body: str = Notification.of(Method.PAYMENT_INCOMING).body(), at: float = NOW, key: PrivateKey = LSP_KEY
) -> tuple[dict[str, str], bytes]:
    when = notifications.timestamp(round(at * 1000))
    return notifications.headers(when, sign(notifications.signed_text(when, body), key)), body.encode()


def refused(receiver: Receiver, headers: dict[str, str], body: bytes, now: float = NOW) -> str:
    with pytest.raises(RefusedNotificationError) as caught:
        receiver.accept(headers, body, now)
    return str(caught.value)


# --- the bytes ---


def test_the_signed_text_is_the_one_in_blip_55() -> None:
    text = notifications.signed_text(
        notifications.timestamp(1_683_197_578_395), Notification.of("lsps5.goodbye").body()
    )
    assert text == (
        "LSPS5: DO NOT SIGN THIS MESSAGE MANUALLY: LSP: At 2023-05-04T10:52:58.395Z I notify "
        '{"jsonrpc":"2.0","method":"lsps5.goodbye","params":{}}'
    )


def test_only_expiry_soon_says_more_than_its_name() -> None:
    assert Notification.of(Method.EXPIRY_SOON, 812_345).body() == (
        '{"jsonrpc":"2.0","method":"lsps5.expiry_soon","params":{"timeout":812345}}'
    )


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1, "1970-01-01T00:00:00.001Z"), (1_700_000_000_000, "2023-11-14T22:13:20.000Z")],
)
def test_timestamps(milliseconds: int, text: str) -> None:
    assert notifications.timestamp(milliseconds) == text


# --- the receiver ---


@pytest.mark.parametrize("method", [*Method, notifications.WEBHOOK_REGISTERED, "lsps5.not_known_yet"])
def test_what_the_lsp_signed_is_accepted(method: str) -> None:
    headers, body = signed(Notification.of(method).body())
    accepted = Receiver(LSP).accept(headers, body, NOW)
    assert (accepted.method, accepted.params) == (method, {})


def test_parameters_arrive_and_header_names_may_be_written_in_any_case() -> None:
    headers, body = signed(Notification.of(Method.EXPIRY_SOON, 7).body())
    shouted = {name.upper(): value for name, value in headers.items()}
    assert Receiver(LSP).accept(shouted, body, NOW).params == {"timeout": 7}


def test_another_node_is_not_the_lsp() -> None:
    assert "not signed by" in refused(Receiver(LSP), *signed(key=PrivateKey(bytes([9]) * 32)))


def test_core_lightning_signs_the_text_as_json_writes_it() -> None:
    own_form, body = signed()
    when = own_form[notifications.TIMESTAMP_HEADER]
    text = notifications.signed_by_cln(notifications.signed_text(when, body.decode()))
    assert r"{\"jsonrpc\":" in text
    receiver = Receiver(LSP)
    receiver.accept(notifications.headers(when, sign(text, LSP_KEY)), body, NOW)
    assert "replay" in refused(receiver, own_form, body)


def test_a_changed_body_or_time_is_not_signed() -> None:
    headers, body = signed()
    refused(Receiver(LSP), headers, body.replace(b"payment", b"Payment"))
    refused(Receiver(LSP), headers, body + b" ")
    refused(Receiver(LSP), {**headers, "x-lsps5-timestamp": notifications.timestamp(round(NOW * 1000) + 1)}, body)


@pytest.mark.parametrize("name", ["x-lsps5-timestamp", "x-lsps5-signature"])
@pytest.mark.parametrize("value", [None, "", "y" * 104, "\N{SNOWMAN}", "2023-05-04T10:52:58.395Z"])
def test_headers_that_are_missing_or_something_else(name: str, value: str | None) -> None:
    headers, body = signed(at=NOW + 1)
    del headers[name]
    refused(Receiver(LSP), headers if value is None else {**headers, name: value}, body)


@pytest.mark.parametrize(
    "when",
    [
        "2023-05-04T10:52:58Z",
        "2023-05-04T10:52:58.3950Z",
        "2023-05-04T10:52:58.395+00:00",
        "2023-05-04 10:52:58.395Z",
        "2023-5-4T10:52:58.395Z",
        "2023-02-30T10:52:58.395Z",
        "",
    ],
)
def test_a_timestamp_of_another_form_is_refused_even_if_signed(when: str) -> None:
    body = Notification.of(Method.PAYMENT_INCOMING).body()
    headers = notifications.headers(when, sign(notifications.signed_text(when, body)))
    assert "x-lsps5-timestamp" in refused(Receiver(LSP), headers, body.encode())


@pytest.mark.parametrize("seconds", [-MAX_AGE_SECONDS, MAX_AGE_SECONDS])
def test_age(seconds: int) -> None:
    Receiver(LSP).accept(*signed(at=NOW), NOW + seconds)
    beyond = seconds + (1 if seconds > 0 else -1)
    assert f"more than {MAX_AGE_SECONDS} s" in refused(Receiver(LSP), *signed(at=NOW), NOW + beyond)


@pytest.mark.parametrize(
    "body", ["", "{}", "[]", "null", '{"jsonrpc":"2.0","params":{}}', '{"jsonrpc":"1.0","method":"m"}']
)
def test_a_signed_body_that_is_no_notification(body: str) -> None:
    assert "not a JSON-RPC" in refused(Receiver(LSP), *signed(body))


@given(st.dictionaries(st.sampled_from(["x-lsps5-timestamp", "x-lsps5-signature"]), st.text()), st.binary())
def test_nothing_else_is_ever_raised(headers: dict[str, str], body: bytes) -> None:
    refused(Receiver(LSP), headers, body)


# --- replay ---


def test_the_same_post_is_accepted_once() -> None:
    receiver = Receiver(LSP)
    receiver.accept(*signed(), NOW)
    assert "replay" in refused(receiver, *signed())
    receiver.accept(*signed(at=NOW + 0.001), NOW)


def test_the_same_post_with_the_other_signature_that_fits_is_the_same_post() -> None:
    receiver = Receiver(LSP)
    headers, body = signed()
    receiver.accept(headers, body, NOW)
    raw = signature.decode(headers["x-lsps5-signature"])
    s = ORDER - int.from_bytes(raw[33:], "big")
    twin = bytes([31 + (raw[0] - 31 ^ 1)]) + raw[1:33] + s.to_bytes(32, "big")
    headers["x-lsps5-signature"] = signature.encode(twin)
    Receiver(LSP).accept(headers, body, NOW)  # so it does fit
    assert "replay" in refused(receiver, headers, body)


def test_a_post_from_the_future_is_remembered_until_it_is_too_old() -> None:
    receiver = Receiver(LSP)
    ahead = signed(at=NOW + MAX_AGE_SECONDS)
    receiver.accept(*ahead, NOW)
    receiver.accept(*signed(at=NOW + MAX_AGE_SECONDS + 1), NOW + MAX_AGE_SECONDS + 1)
    assert "replay" in refused(receiver, *ahead, NOW + 2 * MAX_AGE_SECONDS)


def test_what_was_forgotten_is_not_accepted_again_when_the_clock_goes_back() -> None:
    receiver = Receiver(LSP)
    receiver.accept(*signed(), NOW)
    receiver.accept(*signed(at=NOW + 2 * MAX_AGE_SECONDS), NOW + 2 * MAX_AGE_SECONDS)
    assert "replay" in refused(receiver, *signed(), NOW)


def test_the_memory_is_bounded_and_nothing_in_it_can_be_replayed() -> None:
    receiver = Receiver(LSP)
    posts = [signed(at=NOW + number / 1000) for number in range(150)]
    for post in posts:
        receiver.accept(*post, NOW)
    assert len(receiver._seen) == 100
    for post in posts:
        assert "replay" in refused(receiver, *post)
    receiver.accept(*signed(at=NOW + 1), NOW)
