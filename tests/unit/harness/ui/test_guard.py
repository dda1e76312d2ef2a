"""Nobody but who has the address, from a page of that address, gets anything out of the server."""

import json
from collections.abc import Iterator

import pytest
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from harness.ui.api import web
from harness.ui.guard import MOST_BODY_BYTES, Guard, new_token
from tests.support.played_ui import PlayedWatcher

TOKEN = "t0ken" * 7
"""The same in each process: paths with it are the names of tests."""
HERE = "http://127.0.0.1:4711"
JSON = {"content-type": "application/json"}
STATUS = f"/{TOKEN}/api/status"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(Guard(web(PlayedWatcher()), TOKEN), base_url=HERE, follow_redirects=False) as made:
        yield made


def test_who_has_the_address_is_served(client: TestClient) -> None:
    assert client.get(STATUS).json()["testbed"] == "line"
    assert "<title>" in client.get(f"/{TOKEN}/").text
    assert client.get(STATUS, headers={"origin": HERE}).status_code == 200
    for host in ("localhost:4711", "127.0.0.1", "[::1]:4711", "192.0.2.7:80"):
        assert client.get(STATUS, headers={"host": host}).status_code == 200, host


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/status",
        f"/{TOKEN[:-1]}/api/status",
        f"/{TOKEN}x/api/status",
        "//api/status",
        f"//{TOKEN}/api/status",
        "/static/ui.css",
        "/é/",
    ],
)
def test_without_the_token_there_is_nothing(client: TestClient, path: str) -> None:
    refused = client.get(path)
    assert refused.status_code == 403
    assert "token" in refused.json()["error"]
    assert TOKEN not in refused.text


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4711",
        "127.0.0.1.evil.example:4711",
        "localhost.evil.example",
        "",
        "127.0.0.1:x",
        "2130706433",
        "[::1",
        "::1",
        "127.0.0.1:80:evil",
    ],
)
def test_a_name_that_somebody_else_makes_lead_here_is_refused(client: TestClient, host: str) -> None:
    refused = client.get(STATUS, headers={"host": host})
    assert (refused.status_code, "host" in refused.json()["error"]) == (403, True)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "https://127.0.0.1:4711",
        "http://127.0.0.1:4712",
        "http://127.0.0.1:4711.evil.example",
        "",
    ],
)
@pytest.mark.parametrize("verb", ["GET", "POST", "OPTIONS"])
def test_a_page_of_another_address_is_refused(client: TestClient, origin: str, verb: str) -> None:
    refused = client.request(verb, STATUS, headers={"origin": origin, **JSON}, content="{}" if verb == "POST" else None)
    assert refused.status_code == 403
    assert not [name for name in refused.headers if name.startswith("access-control-")]


def test_no_answer_may_be_read_by_others_or_framed_or_kept(client: TestClient) -> None:
    for path in (STATUS, f"/{TOKEN}/", f"/{TOKEN}/static/live.js", f"/{TOKEN}/nothing", "/"):
        headers = client.get(path).headers
        assert not [name for name in headers if name.startswith("access-control-")]
        assert "set-cookie" not in headers
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        rules = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
        assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_a_form_of_another_page_is_no_request(client: TestClient, kind: str) -> None:
    assert client.post(STATUS, headers={"content-type": kind}, content="{}").status_code == 415


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads a body to its end, and tells how long it was."""
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    await Response(str(length))(scope, receive, send)


def test_a_body_has_a_bound() -> None:
    def parts(size: int) -> Iterator[bytes]:
        yield from [b" " * 1_024] * (size // 1_024)

    client = TestClient(Guard(echo, TOKEN), base_url=HERE)
    for most in (b" " * MOST_BODY_BYTES, parts(MOST_BODY_BYTES)):
        assert client.post(STATUS, headers=JSON, content=most).text == str(MOST_BODY_BYTES)
    for more in (b" " * (MOST_BODY_BYTES + 1), parts(MOST_BODY_BYTES + 1_024)):
        assert client.post(STATUS, headers=JSON, content=more).status_code == 413


async def talk(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes every WebSocket."""
    await send({"type": "websocket.accept"})


def test_websockets_are_refused() -> None:
    with TestClient(talk, base_url=HERE).websocket_connect(STATUS):
        pass  # it would be taken
    with pytest.raises(WebSocketDisconnect), TestClient(Guard(talk, TOKEN), base_url=HERE).websocket_connect(STATUS):
        pass


def test_each_run_has_another_token() -> None:
    tokens = {new_token() for _ in range(50)}
    assert len(tokens) == 50
    assert all(len(token) >= 32 and json.dumps(token) == f'"{token}"' for token in tokens)
