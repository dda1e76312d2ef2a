"""Names of one client that take for ever leave another's alone."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from asyncpay.fair_shares import TooManyError
from asyncpay.lsps import addresses as resolver_module
from asyncpay.lsps.addresses import Resolver

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class NameServers:
    """Those of the greedy client do not answer until they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.began, self.answer = threading.Event(), threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, **_: Any) -> Any:
        if "greedy" in host:
            self.asked += 1
            self.began.set()
            self.answer.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]


async def test_one_clients_names_take_up_its_own_threads_only(monkeypatch: pytest.MonkeyPatch) -> None:
    servers, resolver = NameServers(monkeypatch), Resolver()
    greedy = [asyncio.create_task(resolver.resolve("greedy", f"{number}.greedy.example", 443)) for number in range(100)]
    try:
        assert await resolver.resolve("honest", "push.example", 443) == ["192.0.2.1"]
        assert servers.asked <= resolver_module.MAX_THREADS_OF_A_CLIENT
        for task in greedy:  # their posts have timed out, and are made anew; the threads are still busy
            task.cancel()
        results = await asyncio.gather(*greedy, return_exceptions=True)
        refused = 100 - resolver_module.MAX_THREADS_OF_A_CLIENT - resolver_module.MAX_WAITING_NAMES
        assert sum(isinstance(result, TooManyError) for result in results) == refused
        again = asyncio.create_task(resolver.resolve("greedy", "again.greedy.example", 443))
        assert await resolver.resolve("honest", "push.example", 443) == ["192.0.2.1"]
        assert not again.done()
        assert servers.asked <= resolver_module.MAX_THREADS_OF_A_CLIENT
        servers.answer.set()
        assert await again == ["192.0.2.1"]
    finally:
        servers.answer.set()
        resolver.close()


async def test_a_name_that_many_clients_ask_for_takes_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    servers, resolver = NameServers(monkeypatch), Resolver()
    many = [asyncio.create_task(resolver.resolve(number, "greedy.example", 443)) for number in range(200)]
    try:
        assert await asyncio.to_thread(servers.began.wait, 30)
        assert await resolver.resolve("honest", "push.example", 443) == ["192.0.2.1"]
        assert servers.asked == 1
        for task in many[:100]:
            task.cancel()
        servers.answer.set()
        assert await asyncio.gather(*many[100:]) == [["192.0.2.1"]] * 100
        assert await resolver.resolve("later", "greedy.example", 443) == ["192.0.2.1"]
        assert servers.asked == 2, "an answer is not kept"
    finally:
        servers.answer.set()
        resolver.close()


async def test_a_name_that_waits_in_a_greedy_clients_share_is_found_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    servers, resolver = NameServers(monkeypatch), Resolver()
    names = [f"{number}.greedy.example" for number in range(resolver_module.MAX_THREADS_OF_A_CLIENT)]
    greedy = [asyncio.create_task(resolver.resolve("greedy", name, 443)) for name in (*names, "push.example")]
    try:
        await asyncio.sleep(0)
        assert await resolver.resolve("honest", "push.example", 443) == ["192.0.2.1"]
        assert not greedy[-1].done()
        servers.answer.set()
        assert await asyncio.gather(*greedy) == [["192.0.2.1"]] * len(greedy)
    finally:
        servers.answer.set()
        resolver.close()
