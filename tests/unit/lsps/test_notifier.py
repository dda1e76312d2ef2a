"""Notifying: what arrives is signed, never twice the same, and in order; one webhook does not delay another."""

import asyncio
from collections.abc import Hashable, Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from asyncpay.engine.lsp.records import Method
from asyncpay.lsps import webhooks as notifier_module
from asyncpay.lsps.notifications import WEBHOOK_REGISTERED, Notification, Receiver
from asyncpay.lsps.webhooks import Failure, Notifier, Posted, Poster

from .https_server import answer, make_authority, serve
from .support import LSP, sign, webhook

NOW = 1_700_000_000.0


async def node_signs(text: str) -> bytes:
    return sign(text)


class Posts(Poster):
    """Takes what is posted; a URL that hangs is answered when the test says so."""

    def __init__(self, *hanging: str) -> None:
        self.begun: list[tuple[str, Mapping[str, str], bytes]] = []
        self.proceed = asyncio.Event()
        self._hanging = hanging

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, party: Hashable = None) -> Posted:
        self.begun.append((url, headers, body))
        if url in self._hanging:
            await self.proceed.wait()
            return Posted(Failure.TIMEOUT)
        return Posted()

    @property
    def urls(self) -> list[str]:
        return [url for url, _, _ in self.begun]


async def settle() -> None:
    """Let every task come to where it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


PHONE, TABLET = webhook("phone", "https://push.example/phone"), webhook("tablet", "https://push.example/tablet")
INCOMING = Notification.of(Method.PAYMENT_INCOMING)


def test_every_webhook_gets_it_and_the_result_tells_which_took_it() -> None:
    async def run() -> None:
        posts = Posts(TABLET.url)
        posts.proceed.set()
        assert await Notifier(posts, node_signs).notify([PHONE, TABLET], INCOMING) == [
            Posted(),
            Posted(Failure.TIMEOUT),
        ]
        assert posts.urls == [PHONE.url, TABLET.url]
        assert await Notifier(posts, node_signs).notify([], INCOMING) == []

    asyncio.run(run())


def test_one_server_for_many_clients_sees_no_replays_although_they_are_notified_at_once() -> None:
    async def run() -> None:
        posts = Posts()
        notifier = Notifier(posts, node_signs, clock=lambda: NOW)
        everybody = [webhook("phone", PHONE.url, bytes([2, client]) * 16) for client in range(50)]
        await asyncio.gather(*(notifier.notify([each], INCOMING) for each in everybody))
        server = Receiver(LSP)
        for _, headers, body in posts.begun:
            assert server.accept(headers, body, NOW) == INCOMING
        assert len(posts.begun) == 50

    asyncio.run(run())


def test_a_clock_that_goes_back_does_not_repeat_a_time() -> None:
    async def run() -> None:
        posts = Posts()
        clock = iter([NOW, NOW - 1, NOW - 1])
        notifier = Notifier(posts, node_signs, clock=lambda: next(clock))
        await notifier.notify([PHONE, TABLET, PHONE], INCOMING)
        times = [headers["x-lsps5-timestamp"] for _, headers, _ in posts.begun]
        assert times == ["2023-11-14T22:13:20.000Z", "2023-11-14T22:13:20.001Z", "2023-11-14T22:13:20.002Z"]

    asyncio.run(run())


def test_a_webhook_gets_one_after_the_other_and_the_registration_first() -> None:
    async def run() -> None:
        posts = Posts(PHONE.url)
        notifier = Notifier(posts, node_signs)
        first = asyncio.create_task(notifier.notify([PHONE], Notification.of(WEBHOOK_REGISTERED)))
        await settle()
        second = asyncio.create_task(notifier.notify([PHONE, TABLET], INCOMING))
        await settle()
        assert posts.urls == [PHONE.url, TABLET.url]  # the tablet does not wait for the phone
        posts.proceed.set()
        await asyncio.gather(first, second)
        to_phone = [body for url, _, body in posts.begun if url == PHONE.url]
        assert [WEBHOOK_REGISTERED.encode() in body for body in to_phone] == [True, False]

    asyncio.run(run())


def test_posts_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        monkeypatch.setattr(notifier_module, "MAX_POSTS", 2)
        posts = Posts(PHONE.url)
        notifier = Notifier(posts, node_signs)
        devices = [webhook(f"phone {number}", PHONE.url) for number in range(5)]
        notifying = asyncio.create_task(notifier.notify(devices, INCOMING))
        await settle()
        assert len(posts.begun) == 2
        posts.proceed.set()
        assert len(await notifying) == len(posts.begun) == 5

    asyncio.run(run())


def test_nothing_is_kept_of_webhooks_that_are_not_being_posted_to() -> None:
    async def run() -> None:
        notifier = Notifier(Posts(), node_signs)
        await notifier.notify([PHONE, TABLET], INCOMING)
        assert len(notifier._turns) == 0

    asyncio.run(run())


def test_if_the_node_cannot_sign_nothing_is_posted() -> None:
    class NodeAwayError(Exception):
        pass

    async def run() -> None:
        signed: list[str] = []

        async def away(text: str) -> bytes:
            signed.append(text)
            if len(signed) == 2:
                raise NodeAwayError
            return sign(text)

        posts = Posts()
        with pytest.raises(NodeAwayError):
            await Notifier(posts, away).notify([PHONE, TABLET], INCOMING)
        assert posts.begun == []

    asyncio.run(run())


def test_from_the_lsp_to_a_server_over_https(tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "authority")

    async def run() -> bytes:
        allowed = [ip_network("127.0.0.0/8")]
        async with (
            serve(authority, answer("HTTP/1.1 200 OK\n\n")) as server,
            Poster(authority.ca_file, allowed) as poster,
        ):
            here = webhook(url=f"https://127.0.0.1:{server.port}/token")
            (posted,) = await Notifier(poster, node_signs, lambda: NOW).notify(
                [here], Notification.of(Method.EXPIRY_SOON, 812_345)
            )
            assert posted.delivered
            (request,) = server.requests
            return request

    head, _, body = asyncio.run(run()).partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    accepted = Receiver(LSP).accept(headers, body, NOW)
    assert (accepted.method, accepted.params) == ("lsps5.expiry_soon", {"timeout": 812_345})
    assert {name.lower(): value for name, value in headers.items()}["content-type"] == "application/json"
