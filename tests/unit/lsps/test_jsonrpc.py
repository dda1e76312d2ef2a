"""The framing: whatever comes in, nothing breaks, and what goes out is one JSON-RPC object that fits."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncpay.lsps import jsonrpc
from asyncpay.lsps.jsonrpc import Answer, FormatError, RpcError
from asyncpay.lsps.lsps5 import Client

from .support import PHONE, SERVER, request

CLIENT = Client(PHONE)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
methods = st.sampled_from(sorted(SERVER._methods))
almost_requests = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | json_values,
        "id": st.text() | json_values,
        "method": methods | json_values,
        "params": st.fixed_dictionaries({}, optional={"app_name": json_values, "webhook": st.text() | json_values})
        | json_values,
        "result": json_values,
        "error": json_values,
    },
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A request in which some bytes were changed, cut out or doubled."""
    payload = bytearray(request(draw(methods), {"app_name": "phone", "webhook": "https://push.example/x"}))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(payload) - 1))
        payload[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(payload)


payloads = (
    st.binary()
    | damaged()
    | almost_requests.map(lambda value: json.dumps(value).encode())
    | json_values.map(lambda value: json.dumps(value).encode())
)


def the_answer(payload: bytes) -> dict[str, Any] | None:
    """What the server says, having checked that it is one well-formed answer."""
    handled = SERVER.handle(CLIENT, payload)
    if handled is None:
        return None
    assert len(handled.payload) <= 65533
    assert 0 not in handled.payload
    said: dict[str, Any] = json.loads(handled.payload)
    assert said["jsonrpc"] == "2.0"
    assert set(said) in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})
    if "error" in said:
        assert isinstance(said["error"]["code"], int)
        assert isinstance(said["error"]["message"], str)
        assert handled.event is None
    return said


@given(payloads)
@example(b"")
@example(b"[" * 60_000)
@example(b"\xff\xfe")
def test_the_server_gives_one_answer_or_none_to_anything(payload: bytes) -> None:
    said = the_answer(payload)
    if said is None:
        received = json.loads(payload)
        assert received["id"] is None
        assert "code" in received["error"]
    elif said["id"] is None:
        assert said["error"]["code"] == -32700
    else:
        assert said["id"] == json.loads(payload)["id"]


@given(payloads)
def test_the_client_takes_anything_and_believes_no_answer_to_what_it_did_not_ask(payload: bytes) -> None:
    calls = jsonrpc.Calls()
    calls.begin("lsps5.list_webhooks")
    with suppress(FormatError):
        assert calls.receive(payload) is None


# --- requests that are none: -32700 with id null ---

WHOLE = '{"jsonrpc":"2.0","id":"x","method":"lsps5.list_webhooks","params":{}}'


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"null",
        f"[{WHOLE}]".encode(),  # a batch
        WHOLE[:-1].encode(),
        f"{WHOLE}{WHOLE}".encode(),
        f"{WHOLE} {{".encode(),
        WHOLE.encode() + b"\0",
        WHOLE.replace("x", "\0").encode(),
        b"\xef\xbb\xbf" + WHOLE.encode(),
        WHOLE.encode("utf-16"),
        WHOLE.encode().replace(b"x", b"\xff"),
        WHOLE.replace("x", r"\ud800").encode(),  # half a character
        WHOLE.replace("{}", "{NaN}").encode(),
        WHOLE.replace("{}", '{"a": NaN}').encode(),
        WHOLE.replace("2.0", "1.0").encode(),
        WHOLE.replace('"2.0"', "2.0").encode(),
        WHOLE.replace('"id":"x",', "").encode(),  # a notification: clients send none
        WHOLE.replace('"x"', "null").encode(),
        WHOLE.replace('"x"', "1.5").encode(),
        WHOLE.replace('"x"', "true").encode(),
        WHOLE.replace('"x"', "9" * 5000).encode(),
        WHOLE.replace("x", "x" * 257).encode(),
        WHOLE.replace('"lsps5.list_webhooks"', "7").encode(),
        WHOLE.replace("{}", "null").encode(),
        WHOLE.replace("{}", "[" * 300 + "]" * 300).encode(),
        WHOLE.encode() + b" " * 65533,
        b'{"jsonrpc":"2.0","id":"x","result":{}}',
        b'{"jsonrpc":"2.0","id":"x","error":{"code":1,"message":"m"}}',
    ],
)
def test_what_is_no_request_is_a_parse_error(payload: bytes) -> None:
    said = the_answer(payload)
    assert said is not None
    assert said["id"] is None
    assert said["error"]["code"] == -32700


def test_whitespace_around_a_request_and_missing_params_are_fine() -> None:
    assert "result" in (the_answer(b" \t\r\n" + WHOLE.encode() + b"\n ") or {})
    assert "result" in (the_answer(WHOLE.replace(',"params":{}', "").encode()) or {})


@pytest.mark.parametrize("call_id", ["", "x" * 256, "\N{SNOWMAN}", "\0", '"', 0, -(2**63), 2**63 - 1])
def test_the_id_comes_back_as_it_was(call_id: str | int) -> None:
    assert (the_answer(request("lsps5.list_webhooks", {}, call_id)) or {})["id"] == call_id
    assert (the_answer(request("no.such_method", {}, call_id)) or {})["id"] == call_id


def test_characters_that_need_no_escape_get_none() -> None:
    handled = SERVER.handle(CLIENT, request("lsps5.list_webhooks", {}, "\N{SNOWMAN}"))
    assert handled is not None
    assert '"\N{SNOWMAN}"'.encode() in handled.payload


def test_two_servers_do_not_complain_to_each_other_forever() -> None:
    complaint = SERVER.handle(CLIENT, b"?")
    assert complaint is not None
    assert SERVER.handle(CLIENT, complaint.payload) is None


# --- requests that cannot be carried out ---


@pytest.mark.parametrize("method", ["", "lsps5.set_webhooks", "LSPS5.list_webhooks", "x" * 60_000])
def test_an_unknown_method(method: str) -> None:
    assert (the_answer(request(method)) or {})["error"]["code"] == -32601


@pytest.mark.parametrize(
    ("method", "params", "unrecognized"),
    [
        ("lsps5.list_webhooks", {"a": 1, "b": 2}, ["a", "b"]),
        ("lsps0.list_protocols", {"a": 1}, ["a"]),
        ("async_payments.get_info", {"a": 1}, ["a"]),
        ("lsps5.set_webhook", {"app_name": "phone", "webhook": "https://h", "later": True}, ["later"]),
        ("lsps5.set_webhook", {"app_name": "phone"}, []),
        ("lsps5.set_webhook", {"app_name": 7, "webhook": "https://h"}, []),
        ("lsps5.set_webhook", ["phone", "https://h"], []),
        ("lsps5.remove_webhook", {"webhook": "https://h"}, ["webhook"]),
    ],
)
def test_parameters_that_are_unknown_are_named(method: str, params: Any, unrecognized: list[str]) -> None:
    error = (the_answer(request(method, params)) or {})["error"]
    assert error["code"] == -32602
    assert sorted(error["data"]["unrecognized"]) == unrecognized


def test_an_answer_that_would_not_fit_is_shortened() -> None:
    room = 65533 - len(request("lsps5.list_webhooks", {"": 0}))
    payload = request("lsps5.list_webhooks", {"x" * room: 0})
    assert len(payload) == 65533
    assert (the_answer(payload) or {})["error"]["code"] == -32602


# --- the client ---


def response(call_id: Any, **rest: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": call_id, **rest}).encode()


def test_an_answer_finds_its_call_once() -> None:
    calls = jsonrpc.Calls()
    first, second = calls.begin("lsps5.list_webhooks"), calls.begin("lsps5.list_webhooks")
    assert calls.receive(response(second.id, result={"n": 2})) == Answer(second.id, {"n": 2})
    assert calls.receive(response(second.id, result={"n": 2})) is None
    assert calls.receive(response(first.id, result={})) == Answer(first.id, {})


def test_a_forgotten_call_is_not_answered() -> None:
    calls = jsonrpc.Calls()
    call = calls.begin("lsps5.list_webhooks")
    calls.forget(call)
    assert calls.receive(response(call.id, result={})) is None


def test_ids_do_not_repeat_in_another_life_of_the_wallet() -> None:
    ids = {jsonrpc.Calls().begin("lsps5.list_webhooks").id for _ in range(100)}
    assert len(ids) == 100
    assert min(map(len, ids)) >= 20  # 80 bits in hex


def test_a_call_reaches_the_server_and_comes_back() -> None:
    calls = jsonrpc.Calls()
    handled = SERVER.handle(CLIENT, calls.begin("lsps0.list_protocols").payload)
    assert handled is not None
    answer = calls.receive(handled.payload)
    assert answer is not None
    assert answer.result() == {"protocols": [5]}


def test_an_error_is_raised_where_the_result_is_wanted_and_plays_no_tricks() -> None:
    calls = jsonrpc.Calls()
    call = calls.begin("lsps5.list_webhooks")
    message = "\x1b[2Jgone\n\u202e<script>" + "x" * 10_000
    answer = calls.receive(response(call.id, error={"code": 503, "message": message, "data": {"max_webhooks": 2}}))
    assert answer is not None
    with pytest.raises(RpcError) as caught:
        answer.result()
    assert (caught.value.code, caught.value.data) == (503, {"max_webhooks": 2})
    assert caught.value.message.startswith("[2Jgonescript")
    assert len(caught.value.message) <= 200


@pytest.mark.parametrize(
    "rest",
    [
        {},
        {"result": []},
        {"result": None},
        {"result": {}, "error": {"code": 1, "message": ""}},
        {"error": {"code": "1", "message": ""}},
        {"error": "no"},
    ],
)
def test_an_answer_that_is_none_leaves_the_call_open(rest: dict[str, Any]) -> None:
    calls = jsonrpc.Calls()
    call = calls.begin("lsps5.list_webhooks")
    with pytest.raises(FormatError):
        calls.receive(response(call.id, **rest))
    assert calls.receive(response(call.id, result={})) is not None


def test_notifications_and_complaints_answer_no_call() -> None:
    calls = jsonrpc.Calls()
    calls.begin("lsps5.list_webhooks")
    assert calls.receive(b'{"jsonrpc":"2.0","method":"lsps9.changed","params":{}}') is None
    assert calls.receive(response(None, error={"code": -32700, "message": "?"})) is None


def test_a_call_too_long_for_a_message_is_not_sent() -> None:
    with pytest.raises(ValueError, match="65533"):
        jsonrpc.Calls().begin("lsps5.remove_webhook", {"app_name": "x" * 65533})


@pytest.mark.parametrize("code", ["2147483648", "-2147483649", "9" * 5_000])
def test_an_error_code_is_a_small_number(code: str) -> None:
    calls = jsonrpc.Calls()
    call = calls.begin("m")
    with pytest.raises(jsonrpc.FormatError):
        calls.receive(f'{{"jsonrpc":"2.0","id":"{call.id}","error":{{"code":{code},"message":"no"}}}}'.encode())
