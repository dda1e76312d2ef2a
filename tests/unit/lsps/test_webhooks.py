"""The poster against a real HTTPS server: what counts, what is given up, and where it never goes."""

import asyncio
import socket
import threading
from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from asyncpay.lsps.webhooks import Failure, Posted, Poster

from .https_server import (
    NAME,
    Authority,
    Behaviour,
    Server,
    answer,
    answer_without_end,
    hang_up,
    make_authority,
    say_nothing,
    serve,
)

BODY = b'{"jsonrpc":"2.0","method":"lsps5.payment_incoming","params":{}}'
OK = answer("HTTP/1.1 200 OK\ncontent-length: 0\n\n")
LOOPBACK = ip_network("127.0.0.0/8")
PATIENT = 300.0
IMPATIENT = 0.5


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


class Names:
    """A resolver of which the tests know what it was asked. Each name has its answers, one for each time."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): list(each) for name, each in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Iterable[str]:
        self.asked.append(host)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = self.answers[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def poster(authority: Authority, *addresses: str, names: Names | None = None, **options: Any) -> Poster:
    names = names or Names(push_test=[list(addresses or ["127.0.0.1"])], other_test=[["127.0.0.1"]])
    defaults: dict[str, Any] = {"allowed_networks": [LOOPBACK], "resolve": names}
    return Poster(authority.ca_file, **defaults | options)


def post_to(
    authority: Authority, behaviour: Behaviour, *, tls: bool = True, host: str = NAME, **options: Any
) -> tuple[Posted, Server]:
    async def run() -> tuple[Posted, Server]:
        async with serve(authority if tls else None, behaviour) as server, poster(authority, **options) as posting:
            posted = await posting.post(f"https://{host}:{server.port}/wake?token=1", {"x-test": "yes"}, BODY)
            if posted.failure not in (Failure.ADDRESS, Failure.NAME):
                await asyncio.wait_for(server.hung_up.wait(), 10)  # nothing is left open
            return posted, server

    return asyncio.run(run())


# --- what counts ---


def test_200_is_delivered_and_the_server_gets_it_all(authority: Authority) -> None:
    posted, server = post_to(authority, OK)
    assert posted == Posted()
    assert posted.delivered
    (request,) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /wake?token=1 HTTP/1.1\r\n")
    assert f"host: {NAME}:{server.port}".encode() in head.lower()
    assert b"x-test: yes" in head.lower()
    assert body == BODY
    assert server.names == [NAME]


@pytest.mark.parametrize("status", ["201 Created", "204 No Content", "400 Bad", "500 Internal Server Error", "299 x"])
def test_any_other_status_is_a_failure(authority: Authority, status: str) -> None:
    posted, server = post_to(authority, answer(f"HTTP/1.1 {status}\ncontent-length: 0\n\n"))
    assert (posted.failure, posted.detail) == (Failure.STATUS, f"it was {status[:3]}")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(authority: Authority, status: int) -> None:
    posted, server = post_to(authority, answer(f"HTTP/1.1 {status} Go\nlocation: /else\ncontent-length: 0\n\n"))
    assert posted.failure is Failure.STATUS
    assert server.connections == len(server.requests) == 1


@pytest.mark.parametrize(
    "header",
    [
        "location: https://xn--/",
        "location: https://[::1/",
        "location: https://a:b/",
        "location: //xn--/",
        "location: ",
        f"location: https://a/{'x' * 60_000}",
        "set-cookie: a=b; expires=Thu, 01-Jan-99999999999 00:00:00 GMT",
        f"set-cookie: a=b; max-age={'9' * 5000}",
        "content-type: text/html; charset=no-such",
    ],
)
@pytest.mark.parametrize("status", ["302 Found", "200 OK"])
def test_nothing_of_an_answer_but_its_status_counts(authority: Authority, status: str, header: str) -> None:
    posted, server = post_to(authority, answer(f"HTTP/1.1 {status}\n{header}\ncontent-length: 0\n\n"))
    assert posted.failure is (None if status == "200 OK" else Failure.STATUS)
    assert server.connections == 1


def test_a_fault_in_a_library_ends_its_own_post_only(authority: Authority) -> None:
    async def resolve(host: str, port: int) -> Iterable[str]:
        raise RuntimeError("nobody foresaw this")

    posted = post(poster(authority, resolve=resolve), f"https://{NAME}/")
    assert posted.failure is Failure.PROTOCOL
    assert "nobody foresaw this" in posted.detail


def test_an_endless_body_after_200_is_not_read(authority: Authority) -> None:
    endless = answer_without_end("HTTP/1.1 200 OK\ncontent-type: text/plain\n\n", "x" * 65536)
    assert post_to(authority, endless)[0].delivered


# --- what is given up ---


def test_a_server_that_says_nothing(authority: Authority) -> None:
    assert post_to(authority, say_nothing, timeout_seconds=IMPATIENT)[0].failure is Failure.TIMEOUT


def test_a_server_that_never_begins_tls(authority: Authority) -> None:
    assert post_to(authority, say_nothing, tls=False, timeout_seconds=IMPATIENT)[0].failure is Failure.TIMEOUT


def test_a_server_that_is_always_about_to_answer(authority: Authority) -> None:
    forever = answer_without_end("", "HTTP/1.1 100 Continue\n\n")
    assert post_to(authority, forever, timeout_seconds=IMPATIENT)[0].failure is Failure.TIMEOUT


def test_endless_headers(authority: Authority) -> None:
    """Given up when there are too many of them, and not only when the time is up: there is more of it than needed."""
    forever = answer_without_end("HTTP/1.1 200 OK\n", "x-more: and more\n")
    posted, _ = post_to(authority, forever, timeout_seconds=PATIENT)
    assert (posted.failure, posted.detail) == (Failure.PROTOCOL, "Receive buffer too long")


@pytest.mark.parametrize("text", ["SSH-2.0-OpenSSH\n\n", "HTTP/1.1 two hundred\n\n", "HTTP/1.1 200 OK\nx: \0\n\n"])
def test_what_is_not_http(authority: Authority, text: str) -> None:
    assert post_to(authority, answer(text))[0].failure is Failure.PROTOCOL


def test_a_server_that_hangs_up(authority: Authority) -> None:
    assert post_to(authority, hang_up)[0].failure is Failure.PROTOCOL


def test_a_server_without_tls(authority: Authority) -> None:
    posted, _ = post_to(authority, answer("HTTP/1.1 400 Bad Request\n\n"), tls=False)
    assert posted.failure is Failure.CONNECTION


def test_nobody_listens(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert post(poster(authority), f"https://{NAME}:{port}/").failure is Failure.CONNECTION


def post(posting: Poster, url: str) -> Posted:
    async def run() -> Posted:
        async with posting:
            return await posting.post(url, {}, BODY)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "url", ["http://push.test/", "ftp://push.test/", "push.test", "", "https://[::1/", "https://xn--/"]
)
def test_only_https(authority: Authority, url: str) -> None:
    names = Names(push_test=[["127.0.0.1"]])
    assert post(poster(authority, names=names), url).failure is Failure.URL
    assert names.asked == []


# --- certificates ---


def test_an_authority_that_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    stranger = make_authority(tmp_path / "stranger")
    assert post_to(stranger, OK)[0].delivered  # with its own authority it works

    async def run() -> Posted:
        async with serve(stranger, OK) as server, poster(authority) as posting:
            posted = await posting.post(f"https://{NAME}:{server.port}/", {}, BODY)
            assert server.requests == []
            return posted

    assert asyncio.run(run()).failure is Failure.CERTIFICATE


def test_a_certificate_for_another_name(authority: Authority) -> None:
    posted, server = post_to(authority, OK, host="other.test")
    assert posted.failure is Failure.CERTIFICATE
    assert server.requests == []


def test_an_address_in_the_url_is_checked_against_the_certificate_too(authority: Authority) -> None:
    assert post_to(authority, OK, host="127.0.0.1", resolve=None)[0].delivered


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=r"ca\.pem"):
        Poster(file)


# --- where it never goes ---


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "[::ffff:127.0.0.1]"])
def test_this_machine_is_not_connected_to_by_any_of_its_names(authority: Authority, host: str) -> None:
    posted, server = post_to(authority, OK, host=host, allowed_networks=[], resolve=None)
    assert posted.failure is Failure.ADDRESS
    assert "127.0.0.1" in posted.detail
    assert "allowed_networks" in posted.detail
    assert server.connections == 0


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "[::ffff:10.0.0.1]", "[::1]", "[fe80::1]", "0.0.0.0"])
def test_private_addresses_in_the_url(authority: Authority, host: str) -> None:
    assert post(poster(authority, resolve=None), f"https://{host}/").failure is Failure.ADDRESS


def test_a_name_for_a_private_address(authority: Authority) -> None:
    for address in ("192.168.1.1", "169.254.169.254", "::ffff:10.0.0.1", "fd00::1"):
        posted = post(poster(authority, address), f"https://{NAME}/")
        assert posted.failure is Failure.ADDRESS
        assert NAME in posted.detail


def test_of_several_addresses_only_those_permitted(authority: Authority) -> None:
    async def run() -> None:
        names = Names(push_test=[["127.0.0.2", "127.0.0.1"]])
        async with (
            serve(authority, OK) as permitted,
            serve(authority, OK, "127.0.0.2", permitted.port) as forbidden,
            poster(authority, names=names, allowed_networks=[ip_network("127.0.0.1")]) as posting,
        ):
            assert (await posting.post(f"https://{NAME}:{permitted.port}/", {}, BODY)).delivered
            assert (permitted.connections, forbidden.connections) == (1, 0)

    asyncio.run(run())


def test_if_one_address_does_not_answer_the_next_one_is_tried(authority: Authority) -> None:
    posted, server = post_to(authority, OK, names=Names(push_test=[["127.0.0.3", "127.0.0.1"]]))
    assert posted.delivered
    assert server.connections == 1


def test_a_name_with_many_addresses_is_tried_at_three_of_them(authority: Authority) -> None:
    names = Names(push_test=[["127.0.0.3", "127.0.0.2", "127.0.0.4", "127.0.0.1"]])

    async def run() -> None:
        async with serve(authority, OK) as server, poster(authority, names=names) as posting:
            assert (await posting.post(f"https://{NAME}:{server.port}/", {}, BODY)).failure is Failure.CONNECTION
            assert server.connections == 0

    asyncio.run(run())


def test_a_name_that_changes_its_mind_after_the_check(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: whoever asks a second time is sent to the forbidden address."""
    asked: list[str] = []
    system = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if host != NAME:
            return system(host, port, *rest, **options)
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    async def run() -> None:
        only_first = [ip_network("127.0.0.1")]
        async with (
            serve(authority, OK) as checked,
            serve(authority, OK, "127.0.0.2", checked.port) as forbidden,
            poster(authority, resolve=None, allowed_networks=only_first) as posting,
        ):
            monkeypatch.setattr(socket, "getaddrinfo", rebinding)
            url = f"https://{NAME}:{checked.port}/"
            assert (await posting.post(url, {}, BODY)).delivered
            assert asked == [NAME]
            assert (checked.connections, forbidden.connections) == (1, 0)
            # The next post asks anew, and does not go on with the connection of the first.
            assert (await posting.post(url, {}, BODY)).failure is Failure.ADDRESS
            assert (checked.connections, forbidden.connections) == (1, 0)

    asyncio.run(run())


def test_the_environment_does_not_choose_the_way(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert post_to(authority, OK)[0].delivered


# --- names ---


def test_a_name_that_does_not_resolve(authority: Authority) -> None:
    posted = post(poster(authority), "https://nowhere.test/")
    assert posted.failure is Failure.NAME
    assert "nowhere.test: " in posted.detail


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test"])
def test_what_cannot_be_a_name(authority: Authority, host: str) -> None:
    assert post(poster(authority, resolve=None), f"https://{host}/").failure is Failure.NAME


def test_names_that_take_long_delay_nothing_else(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def slow(*_: Any, **__: Any) -> Any:
        answered.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async def run() -> None:
        async with poster(authority, resolve=None, timeout_seconds=IMPATIENT) as posting, asyncio.timeout(20):
            posts = [asyncio.create_task(posting.post(f"https://{NAME}/", {}, BODY, party)) for party in range(100)]
            assert {(await each).failure for each in posts} == {Failure.TIMEOUT}
            assert await asyncio.to_thread(lambda: "stored") == "stored"

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        asyncio.run(run())
    finally:
        answered.set()
