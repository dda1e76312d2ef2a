"""What the API does is what the command line does, and nothing reaches a testbed that is not as the document says."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from harness import verbs
from harness.cli.main import app
from harness.errors import TestbedError
from harness.scenarios.async_payment import AsyncPayment
from harness.services.phone_verbs import WITHOUT_ARGUMENTS, kilobytes, milliseconds
from harness.testbed import Testbed
from harness.ui.api import web
from harness.ui.verb_routes import MOST_AT_ONCE
from tests.support.played_ui import HOSTILE, PlayedWatcher
from tests.support.served_ui import served

PHONE = "/api/phones/A"
SAME = [
    ("pay", ["pay", "A", "B", "1000sat"], "/api/pay", {"payer": "A", "payee": "B", "amount": "1000sat"}),
    ("mine", ["mine", "6"], "/api/mine", {"blocks": 6}),
    ("mine", ["mine"], "/api/mine", {}),
    ("fund", ["fund", "B", "0.01btc"], "/api/fund", {"node": "B", "amount": "0.01btc"}),
    (
        "open_channel",
        ["open-channel", "A", "LSP_a", "1000000sat", "--push", "5000sat", "--private"],
        "/api/open-channel",
        {"opener": "A", "peer": "LSP_a", "capacity": "1000000sat", "push": "5000sat", "private": True},
    ),
    (
        "close_channel",
        ["close-channel", "A", "LSP_a", "--channel", "1x1x1", "--force"],
        "/api/close-channel",
        {"closer": "A", "peer": "LSP_a", "channel": "1x1x1", "force": True},
    ),
    ("blackhole", ["phone", "A", "blackhole"], f"{PHONE}/blackhole", {}),
    (
        "blackhole",
        ["phone", "A", "blackhole", "--direction", "upstream"],
        f"{PHONE}/blackhole",
        {"direction": "upstream"},
    ),
    ("latency", ["phone", "A", "latency", "300ms"], f"{PHONE}/latency", {"delay": "300ms"}),
    ("bandwidth", ["phone", "A", "bandwidth", "1kB"], f"{PHONE}/bandwidth", {"rate": "1kB"}),
    ("register", ["phone", "A", "register"], f"{PHONE}/register", {}),
    *(("do_to_phone", ["phone", "A", verb], f"{PHONE}/{verb}", {}) for verb in WITHOUT_ARGUMENTS),
    *(
        (verb, [verb, "LSP_a-lsp"], f"/api/services/LSP_a-lsp/{verb}", {})
        for verb in ("stop", "start", "restart", "kill")
    ),
    ("push_gateway", ["push-gateway", "hang"], "/api/push-gateway", {"answer": "hang"}),
]


@pytest.fixture
def watcher() -> PlayedWatcher:
    return PlayedWatcher()


@pytest.fixture
def client(watcher: PlayedWatcher) -> Iterator[TestClient]:
    with TestClient(web(watcher)) as made:
        yield made


@pytest.mark.parametrize(
    ("function", "command", "path", "body"), SAME, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_request_calls_what_the_command_calls(
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    command: list[str],
    path: str,
    body: dict[str, Any],
) -> None:
    called: list[tuple[Any, ...]] = []

    def record(_: Testbed, *arguments: Any, **named: Any) -> None:
        called.append((*arguments, *named.values()))
        raise TestbedError("that is all")

    monkeypatch.setattr(verbs, function, record)
    monkeypatch.setattr(Testbed, "attach", classmethod(lambda *_: object()))
    assert CliRunner().invoke(app, command).exit_code == 2
    refused = client.post(path, json=body)
    assert (refused.status_code, refused.json()["error"]) == (400, "that is all")
    assert len(called) == 2
    assert called[0] == called[1]


def test_every_path_that_does_something_is_compared_with_its_command(client: TestClient) -> None:
    document = client.get("/api/openapi.json").json()["paths"]
    compared = {path.replace("/A/", "/{phone}/").replace("/LSP_a-lsp/", "/{service}/") for _, _, path, _ in SAME}
    wallets = {f"/api/wallets/{{phone}}/{verb}" for verb in ("receive", "pay", "cancel")}
    assert {path for path, of in document.items() if "post" in of} == compared | wallets | {"/api/demo"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/pay", {"payer": "A", "payee": "B"}),
        ("/api/pay", {"payer": "A", "payee": "B", "amount": 1000}),
        ("/api/pay", {"payer": "A", "payee": "B", "amount": "1" * 33}),
        ("/api/pay", {"payer": "A" * 65, "payee": "B", "amount": "1sat"}),
        ("/api/pay", {"payer": "A", "payee": "B", "amount": "1sat", "tip": "1sat"}),
        ("/api/mine", {"blocks": 0}),
        ("/api/mine", {"blocks": 2017}),
        ("/api/mine", {"blocks": 1.5}),
        ("/api/mine", []),
        (f"{PHONE}/blackhole", {"direction": "sideways"}),
        (f"{PHONE}/sleep", {"force": True}),
        ("/api/wallets/B/receive", {"amount": "1sat", "description": "x" * 501}),
        ("/api/wallets/A/pay", {"invoice": "--config=/etc/passwd"}),
        ("/api/wallets/A/pay", {"invoice": ""}),
        ("/api/wallets/A/pay", {"invoice": "lnbcrt1 --help"}),
        ("/api/wallets/A/pay", {"invoice": "--help\nlnbcrt1"}),
        ("/api/wallets/A/pay", {"invoice": "l" * 4001}),
        ("/api/wallets/A/cancel", {"payment_hash": "--help"}),
        ("/api/wallets/A/cancel", {"payment_hash": "abc"}),
        ("/api/wallets/A/cancel", {"payment_hash": "a" * 65}),
        ("/api/wallets/A/cancel", {"payment_hash": "abcd --help"}),
        ("/api/pay", {"payer": "", "payee": "B", "amount": "1sat"}),
        ("/api/close-channel", {"closer": "A", "peer": "B", "channel": "1" * 41}),
        (f"{PHONE}/latency", {"delay": "1" * 31 + "ms"}),
        (f"{PHONE}/bandwidth", {"rate": "1" * 31 + "kB"}),
        ("/api/push-gateway", {"answer": "200"}),
    ],
)
def test_arguments_that_are_not_as_the_document_says(
    client: TestClient, watcher: PlayedWatcher, monkeypatch: pytest.MonkeyPatch, path: str, body: Any
) -> None:
    monkeypatch.setattr(watcher, "attach", lambda: pytest.fail("the testbed was asked"))
    refused = client.post(path, json=body)
    assert refused.status_code == 422
    assert refused.json()["error"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b'{"blocks": 1e999}', b'{"blocks": ' + b"[" * 10_000, b"null"]
)
def test_a_body_that_is_no_json(client: TestClient, content: bytes) -> None:
    refused = client.post("/api/mine", content=content, headers={"content-type": "application/json"})
    assert refused.status_code in (400, 422)
    assert refused.json()["error"]


@pytest.mark.parametrize("path", ["/api/phones/A/jump", "/api/services/A/freeze", "/api/sweep"])
def test_an_unknown_verb(client: TestClient, path: str) -> None:
    refused = client.post(path, json={})
    assert (refused.status_code, bool(refused.json()["error"])) == (404, True)


def test_a_verb_while_the_testbed_is_down(client: TestClient, watcher: PlayedWatcher) -> None:
    watcher.up = False
    assert client.post("/api/mine", json={}).status_code == 410


@pytest.fixture
def line(tmp_path: Any) -> Testbed:
    from harness.topology import load

    return Testbed("line", load("line"), tmp_path)


@pytest.mark.parametrize("name", ["nobody", HOSTILE, "", "../A", "A-wallet-wallet"])
def test_names_that_are_not_there_are_told_with_those_that_are(line: Testbed, name: str) -> None:
    for act in (lambda: verbs.kill(line, name), lambda: verbs.do_to_phone(line, name, "sleep")):
        with pytest.raises(TestbedError) as refused:
            act()
        assert "LSP_a" in str(refused.value) or "phones: A, B" in str(refused.value)


def test_a_method_that_is_no_verb_is_not_called(line: Testbed) -> None:
    for verb in ("signal_app", "__init__", "events", "wallet"):
        with pytest.raises(TestbedError, match="there is no phone verb"):
            verbs.do_to_phone(line, "A", verb)


@pytest.mark.parametrize("text", ["1sat", "", "ms", "0ms", "1.5ms", "-1s", "9" * 30 + "ms", "1e3s", "\u0661ms"])
def test_quantities_are_checked(text: str) -> None:
    for quantity in (milliseconds, kilobytes):
        with pytest.raises(TestbedError, match="write it like"):
            quantity(text)
    assert (milliseconds("0.5s"), milliseconds("300 ms"), kilobytes("1MB")) == (500, 300, 1_000)


@pytest.mark.parametrize(
    ("verb", "body", "command"),
    [
        ("receive", {"amount": "1500msat"}, (1_500, "--description=")),
        ("pay", {"invoice": "lnbcrt1"}, ("lnbcrt1",)),
        ("cancel", {"payment_hash": "0123abcd"}, ("0123abcd",)),
    ],
)
def test_a_wallets_request_runs_the_command_of_that_phone(
    monkeypatch: pytest.MonkeyPatch, verb: str, body: dict[str, Any], command: tuple[Any, ...]
) -> None:
    ran: list[tuple[Any, ...]] = []

    class Wallet:
        def __init__(self, phone: str) -> None:
            self._phone = phone

        def __getattr__(self, name: str) -> Any:
            def run(*arguments: Any) -> dict[str, str]:
                ran.append((self._phone, name, *arguments))
                return {"state": "as the wallet says"}

            return run

    testbed = SimpleNamespace(phone=lambda name: SimpleNamespace(wallet=Wallet(name)))
    monkeypatch.setattr(PlayedWatcher, "attach", lambda _: testbed)
    with TestClient(web(PlayedWatcher())) as client:
        said = client.post(f"/api/wallets/B/{verb}", json=body)
    assert said.json() == {"state": "as the wallet says"}
    assert ran == [("B", verb, *command)]


def test_the_demo_is_the_commands_payment(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[Any] = []

    def play(payment: AsyncPayment) -> None:
        played.append(payment)
        raise TestbedError("that is all")

    monkeypatch.setattr(AsyncPayment, "__init__", lambda *_: None)
    monkeypatch.setattr(AsyncPayment, "play", play)
    monkeypatch.setattr(Testbed, "attach", classmethod(lambda *_: SimpleNamespace(name="line")))
    assert CliRunner().invoke(app, ["demo", "-t", "line"]).exit_code == 2
    refused = client.post("/api/demo", json={})
    assert (refused.status_code, refused.json()["error"]) == (400, "that is all")
    assert len(played) == 2


def test_a_description_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Any, ...]] = []

    class Wallet:
        def receive(self, *arguments: Any) -> dict[str, Any]:
            told.append(arguments)
            return {"invoice": "lnbcrt1"}

    class Phone:
        wallet = Wallet()

    class Phones:
        def phone(self, _: str) -> Phone:
            return Phone()

    with TestClient(web(PlayedWatcher())) as client:
        monkeypatch.setattr(PlayedWatcher, "attach", lambda _: Phones())
        said = client.post("/api/wallets/B/receive", json={"amount": "1500msat", "description": f"--help {HOSTILE}"})
    assert said.json() == {"invoice": "lnbcrt1"}
    assert told == [(1_500, f"--description=--help {HOSTILE}")]
    assert json.loads(said.text) == said.json()


def test_slow_operations_keep_nothing_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number is bounded, a further one is refused, and the page is read meanwhile."""
    may_end, begun = threading.Event(), threading.Semaphore(0)

    def register(*_: Any) -> None:
        begun.release()
        assert may_end.wait(60)

    monkeypatch.setattr(verbs, "register", register)
    with served(PlayedWatcher()) as url, ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        calls = [pool.submit(_post, f"{url}api/phones/A/register") for _ in range(MOST_AT_ONCE)]
        assert all(begun.acquire(timeout=60) for _ in calls)
        try:
            refused = _post(f"{url}api/phones/A/register")
            assert (refused.status_code, "operations are in progress" in refused.json()["error"]) == (503, True)
            assert [httpx.get(f"{url}api/status", trust_env=False).status_code for _ in range(3)] == [200] * 3
        finally:
            may_end.set()
        assert [call.result().json() for call in calls] == [{"done": True}] * MOST_AT_ONCE
        assert _post(f"{url}api/phones/A/register").status_code == 200


def _post(url: str) -> httpx.Response:
    return httpx.post(url, json={}, trust_env=False, timeout=60)
