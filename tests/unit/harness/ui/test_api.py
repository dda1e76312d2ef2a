"""What the API answers, and what it says when it cannot."""

import itertools
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from starlette.testclient import TestClient
from typer.testing import CliRunner

from harness.checks import status as checked
from harness.checks.status import Status
from harness.cli.main import app
from harness.engines.base import Output
from harness.errors import NodeError, PaymentError, TestbedError
from harness.services.lsp import Lsp
from harness.testbed import Testbed
from harness.timeline import recording
from harness.timeline.model import Event
from harness.ui import watcher as watching
from harness.ui.api import MOST_EVENTS, OWN, web
from harness.ui.guard import Guard
from harness.ui.watcher import Watcher
from harness.waits import Predicate, WaitTimeoutError, wait_for
from tests.support.played_ui import HOSTILE, RECORDING, PlayedWatcher, recorded, status
from tests.unit.harness.played_engine import PlayedEngine

WEB = Path(watching.__file__).parent / "web"


@pytest.fixture
def watcher() -> PlayedWatcher:
    return PlayedWatcher(events=recorded())


@pytest.fixture
def client(watcher: PlayedWatcher) -> Iterator[TestClient]:
    with TestClient(web(watcher), raise_server_exceptions=False) as made:
        yield made


def test_status_is_what_the_command_prints(client: TestClient) -> None:
    said, seen = client.get("/api/status").json(), json.loads(json.dumps(status().as_json()))
    assert said.keys() == seen.keys()
    assert said["channels"] == seen["channels"]
    assert said["nodes"] == seen["nodes"]
    assert said["phones"][0] == seen["phones"][0]


def test_pushes(client: TestClient) -> None:
    assert [push["refused"] for push in client.get("/api/pushes").json()] == [None, "not signed"]


def test_events_are_read_on_from_the_last_one(client: TestClient, watcher: PlayedWatcher) -> None:
    first = client.get("/api/events").json()
    assert first["last"] == len(first["events"]) == len(recorded())
    assert first["missed"] == 0
    assert client.get("/api/events", params={"after": first["last"]}).json()["events"] == []
    watcher.events.add(recorded()[:2])
    more = client.get("/api/events", params={"after": first["last"], "wait_seconds": 20}).json()
    assert (more["last"], len(more["events"])) == (first["last"] + 2, 2)
    again = client.get("/api/events", params={"after": more["last"] + 99}).json()
    assert (again["last"], again["missed"]) == (more["last"], 0), "that number was another run's"


def test_a_reader_who_was_away_too_long_is_told(client: TestClient, watcher: PlayedWatcher) -> None:
    for _ in range(20_000 // len(recorded()) + 2):
        watcher.events.add(recorded())
    said = client.get("/api/events", params={"after": 5}).json()
    assert len(said["events"]) == MOST_EVENTS
    assert said["missed"] == said["last"] - MOST_EVENTS - 5 > 0


@pytest.mark.parametrize("query", ["after=-1", "after=x", "wait_seconds=26", "wait_seconds=nan", "wait_seconds=-1"])
def test_questions_out_of_bounds_are_refused_with_a_sentence(client: TestClient, query: str) -> None:
    refused = client.get(f"/api/events?{query}")
    assert refused.status_code == 422
    assert query.partition("=")[0] in refused.json()["error"]


def test_the_timeline_of_one_payment(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "gather", lambda _: recording.read(RECORDING))
    whole = client.get("/api/timeline").json()
    payment_hash = whole["payments"][0]["payment_hash"]
    one = client.get("/api/timeline", params={"payment": payment_hash[:6]}).json()
    assert [payment["payment_hash"] for payment in one["payments"]] == [payment_hash]
    assert 0 < len(one["events"]) < len(whole["events"])
    refused = client.get("/api/timeline", params={"payment": "ffff"})
    assert (refused.status_code, "there is none" in refused.json()["error"]) == (400, True)


def test_a_testbed_that_is_down(client: TestClient, watcher: PlayedWatcher) -> None:
    watcher.up = False
    for path in ("status", "pushes", "timeline"):
        refused = client.get(f"/api/{path}")
        assert refused.status_code == 410
        assert refused.json()["error"] == "testbed line is down. Start it again with `testbed up`"
    assert client.get("/api/events").status_code == 200, "what it did can still be read"
    watcher.up = True
    assert client.get("/api/status").status_code == 200


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TestbedError("no such node"), 400),
        (NodeError("LND refuses"), 502),
        (PaymentError("no route"), 502),
        (WaitTimeoutError("peer_gone", 30, "it is there"), 504),
    ],
)
def test_errors_are_sentences_with_a_kind(
    client: TestClient, watcher: PlayedWatcher, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail() -> Any:
        raise error

    monkeypatch.setattr(watcher, "attach", fail)
    refused = client.get("/api/pushes")
    assert (refused.status_code, refused.json()) == (code, {"error": str(error), "kind": type(error).__name__})


def test_a_fault_of_the_server_tells_no_more_than_its_kind(
    client: TestClient, watcher: PlayedWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Any:
        raise KeyError("secret")

    monkeypatch.setattr(watcher, "attach", fail)
    refused = client.get("/api/pushes")
    assert refused.status_code == 500
    assert "KeyError" in refused.json()["error"]
    assert "secret" not in refused.text


@pytest.mark.parametrize(
    "path",
    [
        "/api/nothing",
        "/static/ui.html",
        "/static/api.py",
        "/static/..%2fapi.py",
        "/static/%2e%2e/api.py",
        "/nothing",
        "/docs",
    ],
)
def test_what_is_not_there(client: TestClient, path: str) -> None:
    refused = client.get(path)
    assert refused.status_code == 404
    assert refused.json()["error"]


def test_hostile_texts_arrive_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with TestClient(web(PlayedWatcher(HOSTILE))) as client:
        assert client.get("/api/status").json()["phones"][0]["link"] == HOSTILE
        assert client.get("/api/status").headers["content-type"] == "application/json"
        assert HOSTILE not in client.get("/").text


def test_the_page_loads_its_own_files_alone(client: TestClient) -> None:
    text = client.get("/").text
    named = re.findall(r"(?:src|href)=\"([^\"]*)\"", text)
    assert named
    for name in named:
        if name != "timeline.html":
            assert client.get(f"/{name}").status_code == 200, name
    assert not re.search(r"https?:|style=|\son\w+=", text)
    forbidden = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|DOMParser|srcdoc|https?://"
    for name in OWN:
        assert not re.search(forbidden, (WEB / name).read_text(encoding="utf-8")), name


def test_no_file_of_the_page_is_too_long_to_be_read_in_one_go() -> None:
    files = [*WEB.iterdir(), *(WEB.parents[1] / "timeline/web").iterdir()]
    assert len(files) > 8
    assert {file.name: lines for file in files if (lines := len(file.read_text().splitlines())) > 400} == {}


def test_two_who_ask_at_once_cost_the_nodes_one_look(watcher: PlayedWatcher) -> None:
    seen: list[Status] = []
    threads = [threading.Thread(target=lambda: seen.append(watcher.status())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(seen), watcher.looks) == (8, 1)


def test_a_look_is_not_kept_for_long(watcher: PlayedWatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watcher.status()
    now[0] += 0.9
    watcher.status()
    assert watcher.looks == 1
    now[0] += 0.2
    watcher.status()
    assert watcher.looks == 2


def test_openapi_names_every_question(client: TestClient) -> None:
    document = client.get("/api/openapi.json").json()
    assert {"/api/status", "/api/events", "/api/timeline", "/api/pushes"} <= document["paths"].keys()
    for path, verbs in document["paths"].items():
        for verb in verbs.values():
            assert verb["description"], path
            assert "410" in verb["responses"]
    printed = CliRunner().invoke(app, ["ui", "--openapi"])
    assert json.loads(printed.stdout)["paths"] == document["paths"]


def test_a_watcher_notices_that_the_testbed_is_another_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It was taken down and brought up again under the same name: its old connections are not used."""
    monkeypatch.setenv("TESTBED_STATE", str(tmp_path))
    made: list[str] = []

    def attach(_: type, name: str) -> Any:
        made.append(name)
        if not (tmp_path / name / "compose.yaml").exists():
            raise TestbedError("there is none")
        return object()

    monkeypatch.setattr(Testbed, "attach", classmethod(attach))
    monkeypatch.setattr(checked, "look", lambda _: status())
    monkeypatch.setattr(watching, "FRESH_SECONDS", 0)
    (tmp_path / "line").mkdir()
    (tmp_path / "line/compose.yaml").touch()
    looked = Watcher("line")
    looked._forget_what_is_gone = lambda *_: None  # type: ignore[method-assign]
    looked.status(), looked.status()
    assert made == ["line"]
    (tmp_path / "line/compose.yaml").unlink()
    with pytest.raises(TestbedError):
        looked.status()
    (tmp_path / "line/compose.yaml").touch()
    looked.status()
    assert made == ["line"] * 3
    (tmp_path / "other").touch()
    (tmp_path / "other").replace(tmp_path / "line/compose.yaml")
    looked.status()
    assert made == ["line"] * 4, "nobody looked while it was down"


def test_events_of_a_former_testbed_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken down and brought up again under the same name: what it did before is not what this one did."""
    looked, (first, second, third, *_) = Watcher("line"), recorded()
    down = threading.Event()

    def told(testbed: int) -> Iterator[list[Event]]:
        if testbed == 1:
            yield [first]
            yield [second]
            assert down.wait(30)
            return
        yield [third]
        assert looked._over.wait(30)

    monkeypatch.setattr(watching, "AGAIN_SECONDS", 0)
    monkeypatch.setattr(looked, "attach", itertools.count(1).__next__)
    monkeypatch.setattr(looked, "_told", told)

    def seen(*expected: Event) -> Predicate:
        return Predicate("events_seen", lambda: None if looked.events.after(0, 9)[2] == list(expected) else "not yet")

    with TestClient(web(looked)) as client:
        wait_for(seen(first, second))
        before = client.get("/api/events").json()
        down.set()
        wait_for(seen(third))
        after = client.get("/api/events", params={"after": before["last"]}).json()
        assert after["run"] != before["run"]
        assert [event["what"] for event in after["events"]] == [third.what]
        looked.stop()


def test_half_a_surrogate_pair_is_replaced(
    client: TestClient, watcher: PlayedWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON can say it and UTF-8 cannot, so an answer with one could not be sent."""

    def fail() -> Any:
        raise NodeError("LND says \ud800 no")

    monkeypatch.setattr(watcher, "attach", fail)
    refused = client.get("/api/pushes")
    assert (refused.status_code, refused.json()["error"]) == (502, "LND says ? no")


def test_a_component_cannot_say_half_a_surrogate_pair() -> None:
    class Engine(PlayedEngine):
        def output(self, service: str, command: Any) -> Output:
            return Output('{"last_errors": [{"because": "\\ud800", "\\udfff": 1}]}', "")

    said = Lsp("LSP_a", Engine({})).status()
    assert said == {"last_errors": [{"because": "?", "?": 1}]}


def test_the_document_does_not_have_the_token() -> None:
    with TestClient(Guard(web(PlayedWatcher()), "s3cret"), base_url="http://127.0.0.1:1") as client:
        document = client.get("/s3cret/api/openapi.json")
    assert "s3cret" not in document.text
    assert document.json()["servers"][0]["url"] == ".."


def test_an_engine_that_is_restarted_is_told(
    client: TestClient, watcher: PlayedWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Any:
        raise requests.ConnectionError("connection aborted")

    monkeypatch.setattr(watcher, "attach", fail)
    refused = client.get("/api/pushes")
    assert (refused.status_code, "connection aborted" in refused.json()["error"]) == (502, True)


def test_events_go_on_after_an_unforeseen_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looked, last = Watcher("line"), recorded()[-1]
    failures = iter(
        [requests.ConnectionError("aborted"), requests.ConnectionError("aborted"), OSError(24, "too many files")]
    )

    def told(_: Any) -> Iterator[list[Any]]:
        for error in failures:
            raise error
        yield [last]

    monkeypatch.setattr(watching, "AGAIN_SECONDS", 0)
    monkeypatch.setattr(looked, "attach", lambda: None)
    monkeypatch.setattr(looked, "_told", told)
    looked.start()
    wait_for(Predicate("event_seen", lambda: None if looked.events.after(0, 1)[2] else "none yet"))
    looked.stop()
    assert capsys.readouterr().err.count("aborted") == 1, "the same error is told once"


def test_who_asks_while_another_look_takes_long_gets_the_last_one(
    watcher: PlayedWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watcher.status()
    monkeypatch.setattr(watching, "FRESH_SECONDS", 0)
    begun, ends = threading.Event(), threading.Event()

    def look() -> Status:
        begun.set()
        assert ends.wait(30)
        return status()

    monkeypatch.setattr(watcher, "_look", look)
    slow = threading.Thread(target=watcher.status)
    slow.start()
    assert begun.wait(30)
    assert watcher.status() is seen
    ends.set()
    slow.join()
