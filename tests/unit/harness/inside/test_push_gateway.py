"""The push gateway without LSPs and phones: what it takes, keeps and delivers."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import tenacity
from coincurve import PrivateKey

from asyncpay.lsps import notifications
from asyncpay.lsps.notifications import MAX_AGE_SECONDS, Notification
from asyncpay.service.common.event_log import EventLog
from harness.inside import push_gateway
from harness.inside.interface import Behaviour, Push, PushConfig
from harness.inside.push_gateway import KEPT_SECONDS, MAX_BODY_BYTES, MAX_PUSHES, Gateway, Web
from tests.support.keys import key_of, signmessage

LSP, STRANGER = key_of("LSP"), key_of("stranger")
METHOD = "lsps5.payment_incoming"


class ScriptedPhone:
    """Takes pushes, or is away. An HTTP server."""

    def __init__(self) -> None:
        self.away = False
        self.taken: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-l"))
        body = await reader.readexactly(length)
        if not self.away:
            self.taken.append(body)
        writer.write(
            f"HTTP/1.1 {503 if self.away else 200} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        writer.close()


class GatewayHarness:
    """A gateway whose phone is A, and somebody who posts to it."""

    def __init__(self, config: PushConfig, phone: ScriptedPhone) -> None:
        self.gateway = Gateway(config, EventLog())
        self.phone = phone
        transport = httpx.ASGITransport(app=Web(self.gateway).application, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="https://push")

    async def subscribe(self) -> str:
        answer = await self._client.post("/subscriptions", json={"phone": "A", "lsp": LSP.public_key.format().hex()})
        return str(answer.json()["token"])

    async def post(self, path: str, method: str = METHOD, key: PrivateKey = LSP, **changes: Any) -> httpx.Response:
        """A notification; changes: age_seconds, body, headers."""
        when = notifications.timestamp(int((time.time() - changes.get("age_seconds", 0)) * 1_000))
        body = Notification.of(method).body()
        headers = notifications.headers(when, signmessage(notifications.signed_text(when, body), key))
        content = changes.get("body", body)
        return await self._client.post(f"/{path}", headers=changes.get("headers", headers), content=content)

    async def pushes(self) -> list[Push]:
        return [Push.model_validate(push) for push in (await self._client.get("/pushes")).json()]

    async def until(self, true: Callable[[], bool]) -> None:
        async def holds() -> bool:
            return true()

        waiting = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_result(lambda held: not held),
            wait=tenacity.wait_fixed(0.01),
            stop=tenacity.stop_after_delay(10),
        )
        await waiting(holds)


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a story in a gateway_harness; told again, in a gateway_harness whose gateway was started again."""
    monkeypatch.setattr(push_gateway, "FIRST_RETRY_SECONDS", 0.01)

    def run(story: Callable[[GatewayHarness], Awaitable[None]], phone: ScriptedPhone | None = None) -> None:
        async def tell() -> None:
            there = phone or ScriptedPhone()
            server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/push"
            config = PushConfig(port=0, certificate="", state=str(tmp_path / "state.json"), phones={"A": url})
            async with server:
                gateway_harness = GatewayHarness(config, there)
                async with gateway_harness.gateway.delivering():
                    await story(gateway_harness)

        asyncio.run(tell())

    return run


HALF_PAIR = b'{"method": "\\ud800"}'


@pytest.mark.parametrize(
    "body", [HALF_PAIR, b'{"method": "m\\udfff\\ud800"}', b"[" * MAX_BODY_BYTES, b"\xff\xfe", b"\0"]
)
def test_no_post_ends_the_service_for_others(body: bytes, play: Callable[..., None]) -> None:
    async def story(gateway_harness: GatewayHarness) -> None:
        token = await gateway_harness.subscribe()
        assert (await gateway_harness.post(token, body=body)).status_code == 403
        assert (await gateway_harness.post(await gateway_harness.subscribe())).status_code == 200
        first, second = await gateway_harness.pushes()
        assert (first.refused is None, second.refused is None) == (False, True)

    play(story)
    play(story_of_what_is_kept)


async def story_of_what_is_kept(gateway_harness: GatewayHarness) -> None:
    """A gateway that is started again has both pushes."""
    assert len(await gateway_harness.pushes()) == 2


BAD_SUBSCRIPTIONS = (
    b'{"phone": "A", "lsp": "\\ud800"}',
    b'{"phone": "A", "lsp": "02"}',
    b'{"phone": "A"}',
    b'{"phone": ["A"], "lsp": "02"}',
    b"[]",
    b"{",
    b"[" * MAX_BODY_BYTES,
)


@pytest.mark.parametrize("path", ["subscriptions", "behaviour"])
@pytest.mark.parametrize("body", BAD_SUBSCRIPTIONS)
def test_a_request_that_is_none_is_refused_and_changes_nothing(
    path: str, body: bytes, play: Callable[..., None]
) -> None:
    async def story(gateway_harness: GatewayHarness) -> None:
        assert (await gateway_harness.post(path, body=body, headers={})).status_code == 400
        assert gateway_harness.gateway.records.subscriptions == {}
        assert (await gateway_harness.post(await gateway_harness.subscribe())).status_code == 200

    play(story)


def test_a_genuine_notification_reaches_the_phone_with_its_method_alone(play: Callable[..., None]) -> None:
    async def story(gateway_harness: GatewayHarness) -> None:
        assert (await gateway_harness.post(await gateway_harness.subscribe())).status_code == 200
        await gateway_harness.until(lambda: gateway_harness.gateway.records.pushes[0].delivered is not None)
        assert gateway_harness.phone.taken == [b'{"method":"lsps5.payment_incoming"}']
        (push,) = await gateway_harness.pushes()
        assert (push.phone, push.method, push.refused, push.attempts) == ("A", METHOD, None, 1)
        assert push.body == Notification.of(METHOD).body()
        assert push.delivered is not None
        assert push.time <= push.delivered

    play(story)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key": STRANGER}, "not signed by LSP"),
        ({"age_seconds": MAX_AGE_SECONDS + 1}, "more than"),
        ({"age_seconds": -MAX_AGE_SECONDS - 1}, "more than"),
        ({"headers": {}}, "not signed"),
        ({"body": Notification.of("lsps5.expiry_soon", timeout=5).body()}, "not signed by LSP"),
        ({"body": b"\xff"}, "not signed"),
    ],
)
def test_what_is_not_genuine_is_told_and_not_pushed(
    play: Callable[..., None], changes: dict[str, Any], reason: str
) -> None:
    async def story(gateway_harness: GatewayHarness) -> None:
        token = await gateway_harness.subscribe()
        assert (await gateway_harness.post(token, **changes)).status_code == 403
        assert (await gateway_harness.post(token)).status_code == 200
        await gateway_harness.until(lambda: bool(gateway_harness.phone.taken))
        refused, genuine = await gateway_harness.pushes()
        assert reason in (refused.refused or "")
        assert (refused.delivered, refused.attempts, genuine.refused) == (None, 0, None)
        assert len(gateway_harness.phone.taken) == 1

    play(story)


def test_a_repeated_notification_is_pushed_once(play: Callable[..., None]) -> None:
    async def story(gateway_harness: GatewayHarness) -> None:
        token = await gateway_harness.subscribe()
        taken = await gateway_harness.post(token)
        again = await gateway_harness.post(token, headers=taken.request.headers)
        assert (taken.status_code, again.status_code) == (200, 403)
        assert [push.refused for push in await gateway_harness.pushes()] == [
            None,
            "a replay of an earlier notification",
        ]

    play(story)


def test_a_phone_that_is_away_has_its_pushes_in_order_when_it_is_back(play: Callable[..., None]) -> None:
    async def story(gateway_harness: GatewayHarness) -> None:
        token = await gateway_harness.subscribe()
        gateway_harness.phone.away = True
        for method in ("lsps5.onion_message_incoming", METHOD):
            assert (await gateway_harness.post(token, method)).status_code == 200
        await gateway_harness.until(lambda: gateway_harness.gateway.records.pushes[0].attempts >= 3)
        assert [push.delivered for push in await gateway_harness.pushes()] == [None, None]
        gateway_harness.phone.away = False
        await gateway_harness.until(lambda: len(gateway_harness.phone.taken) == 2)
        assert gateway_harness.phone.taken == [
            b'{"method":"lsps5.onion_message_incoming"}',
            b'{"method":"lsps5.payment_incoming"}',
        ]

    play(story)


def test_a_gateway_that_was_started_again_knows_subscriptions_and_what_is_to_be_pushed(
    play: Callable[..., None],
) -> None:
    phone, tokens = ScriptedPhone(), []

    async def before(gateway_harness: GatewayHarness) -> None:
        tokens.append(await gateway_harness.subscribe())
        phone.away = True
        await gateway_harness.post(tokens[0])
        tokens.append(await gateway_harness.subscribe())

    async def after(gateway_harness: GatewayHarness) -> None:
        assert set(tokens) == gateway_harness.gateway.records.subscriptions.keys()
        phone.away = False
        await gateway_harness.until(lambda: len(phone.taken) == 1)
        assert (await gateway_harness.post(tokens[0])).status_code == 200
        await gateway_harness.until(lambda: len(phone.taken) == 2)

    play(before, phone)
    play(after, phone)


def test_a_push_is_not_kept_for_ever(play: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    phone = ScriptedPhone()
    phone.away = True

    async def before(gateway_harness: GatewayHarness) -> None:
        token = await gateway_harness.subscribe()
        for _ in range(2):
            await gateway_harness.post(token)
        gateway_harness.gateway.records.pushes[0].time -= KEPT_SECONDS
        await gateway_harness.until(lambda: gateway_harness.gateway.records.pushes[1].attempts > 0)
        phone.away = False
        await gateway_harness.until(lambda: gateway_harness.gateway.records.pushes[1].delivered is not None)
        assert gateway_harness.gateway.records.pushes[0].delivered is None
        assert len(phone.taken) == 1

    play(before, phone)


def test_only_so_many_are_remembered(play: Callable[..., None]) -> None:
    async def story(gateway_harness: GatewayHarness) -> None:
        token = await gateway_harness.subscribe()
        subscription = gateway_harness.gateway.records.subscriptions[token]
        for number in range(MAX_PUSHES + 1):
            gateway_harness.gateway.take(subscription, {}, str(number).encode())
        bodies = [push.body for push in await gateway_harness.pushes()]
        assert (len(bodies), bodies[0], bodies[-1]) == (MAX_PUSHES, "1", str(MAX_PUSHES))

    play(story)


@pytest.mark.parametrize(("behaviour", "code"), [(Behaviour.ERROR, 500), (Behaviour.REDIRECT, 307)])
def test_it_answers_as_it_is_told(play: Callable[..., None], behaviour: Behaviour, code: int) -> None:
    async def story(gateway_harness: GatewayHarness) -> None:
        token = await gateway_harness.subscribe()
        gateway_harness.gateway.behaviour = behaviour
        assert (await gateway_harness.post(token)).status_code == code
        gateway_harness.gateway.behaviour = Behaviour.NORMALLY
        assert (await gateway_harness.post(token)).status_code == 200
        await gateway_harness.until(lambda: bool(gateway_harness.phone.taken))
        first, _ = await gateway_harness.pushes()
        assert first.refused == f"the gateway was told to answer: {behaviour}"
        assert len(gateway_harness.phone.taken) == 1

    play(story)


def test_it_hangs_when_it_is_told(play: Callable[..., None]) -> None:
    async def story(gateway_harness: GatewayHarness) -> None:
        token = await gateway_harness.subscribe()
        gateway_harness.gateway.behaviour = Behaviour.HANG
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gateway_harness.post(token), 0.3)

    play(story)


def test_what_nobody_subscribed_to_and_what_is_too_large_is_not_taken(play: Callable[..., None]) -> None:
    async def story(gateway_harness: GatewayHarness) -> None:
        token = await gateway_harness.subscribe()
        assert (await gateway_harness.post("x" * 32)).status_code == 404
        assert (await gateway_harness.post(token, body=b"x" * (MAX_BODY_BYTES + 1))).status_code == 413
        assert await gateway_harness.pushes() == []

    play(story)
