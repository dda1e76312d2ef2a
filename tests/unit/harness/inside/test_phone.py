"""A phone's init as a process of this machine, with apps that are shell commands."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.inside.interface import PHONE_CONFIG_VARIABLE, AppSpec, PhoneConfig
from harness.waits import Predicate, WaitTimeoutError, wait_for

SLEEPER = ("sleep", "1000")


class Init:
    """A running init."""

    def __init__(self, folder: Path, *apps: AppSpec) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        file = folder / "phone.json"
        file.write_text(PhoneConfig(port=port, apps=apps).model_dump_json())
        self._url = f"http://127.0.0.1:{port}"
        with (folder / "stdout").open("w") as stdout, (folder / "stderr").open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "harness.inside.phone"],
                env=os.environ | {PHONE_CONFIG_VARIABLE: str(file)},
                stdout=stdout,
                stderr=stderr,
            )
        self.wait("answers", lambda: None if self._answers() else "no answer yet")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self._url}/status").is_success
        except httpx.TransportError:
            return False

    def do(self, path: str, code: int = 200, body: Any = None) -> dict[str, Any]:
        answer = httpx.post(f"{self._url}/{path}", json=body, timeout=30)
        assert answer.status_code == code, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def ask(self, app: str, verb: str) -> tuple[int, Any]:
        answer = httpx.get(f"{self._url}/apps/{app}/answers/{verb}", timeout=30)
        return answer.status_code, answer.json()

    def state(self) -> str:
        return str(httpx.get(f"{self._url}/status").json()["state"])

    def app(self, name: str = "app") -> dict[str, Any]:
        apps = httpx.get(f"{self._url}/status").json()["apps"]
        return next(app for app in apps if app["name"] == name)

    def wait(self, name: str, missing: Callable[[], str | None]) -> None:
        wait_for(Predicate(name, missing), 30, 0.02)

    def runs(self, name: str = "app", starts: int = 1) -> dict[str, Any]:
        """Wait until the app runs, and was started so often."""

        def missing() -> str | None:
            app = self.app(name)
            return None if app["pid"] and app["starts"] == starts else str(app)

        self.wait("runs", missing)
        return self.app(name)


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[Callable[..., Init]]:
    started: list[Init] = []

    def start(*apps: AppSpec) -> Init:
        started.append(Init(tmp_path, *apps))
        return started[-1]

    yield start
    for init in started:
        init.process.terminate()
        init.process.wait(30)


def alive(pid: int) -> bool:
    """A zombie is not: its own parent, which may be this test, has not looked yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_apps_are_started_in_order_and_stopped_in_the_opposite_order(
    phone: Callable[..., Init], tmp_path: Path
) -> None:
    trace = tmp_path / "trace"

    def telling(name: str) -> AppSpec:
        script = f"trap 'echo {name} stops >>{trace}; exit 0' TERM; while :; do sleep 0.05; done"
        return AppSpec(name=name, command=("sh", "-c", script))

    init = phone(telling("node"), telling("wallet"))
    init.runs("node")
    init.runs("wallet")
    init.do("sleep")
    assert trace.read_text().splitlines() == ["wallet stops", "node stops"]
    assert (init.state(), init.app("node")["last_exit"]) == ("asleep", 0)
    init.do("wake")
    init.runs("node", starts=2)
    init.process.terminate()
    init.process.wait(10)
    assert trace.read_text().splitlines() == ["wallet stops", "node stops"] * 2


def test_an_app_that_does_not_stop_is_killed(phone: Callable[..., Init], tmp_path: Path) -> None:
    stubborn = ("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    init = phone(AppSpec(name="app", command=stubborn, stop_seconds=0.3))
    init.runs()
    init.do("sleep")
    assert init.app()["last_exit"] == -signal.SIGKILL
    assert "app is killed" in (tmp_path / "stdout").read_text()


def test_an_app_that_cannot_run_is_not_started_again(phone: Callable[..., Init], tmp_path: Path) -> None:
    refuses = tmp_path / "refuses"
    refuses.touch()
    script = f"test -e {refuses} && exit 2; exec sleep 1000"
    init = phone(AppSpec(name="app", command=("sh", "-c", script), final_exits=(2,)))
    init.wait("gave_up", lambda: None if init.app()["gave_up"] else str(init.app()))
    assert (init.app()["pid"], init.app()["starts"], init.app()["last_exit"]) == (None, 1, 2)
    assert "exit code 2" in (tmp_path / "stdout").read_text()
    refuses.unlink()
    init.do("apps/app/start")
    assert not init.runs(starts=2)["gave_up"]


def test_a_phone_that_sleeps_cannot_be_unfrozen(phone: Callable[..., Init]) -> None:
    init = phone(AppSpec(name="app", command=SLEEPER))
    init.runs()
    init.do("unfreeze")  # nothing to do
    init.do("sleep")
    assert init.do("unfreeze", 503)["error"] == "the phone is asleep and not frozen: wake it"


def test_an_app_may_have_a_command_that_stops_it(phone: Callable[..., Init], tmp_path: Path) -> None:
    told = tmp_path / "told"
    waits = ("sh", "-c", f"trap '' TERM; while [ ! -e {told} ]; do sleep 0.02; done; exit 7")
    init = phone(AppSpec(name="app", command=waits, stop_command=("touch", str(told))))
    init.runs()
    init.do("sleep")
    assert init.app()["last_exit"] == 7


def test_a_frozen_phone_is_suspended_with_all_its_children(phone: Callable[..., Init]) -> None:
    init = phone(AppSpec(name="app", command=("sh", "-c", "sleep 1000 & wait")))
    pid = init.runs()["pid"]
    init.wait("child_runs", lambda: None if Path(f"/proc/{pid}/task/{pid}/children").read_text() else "no child")
    child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
    init.do("freeze")
    assert (init.state(), init.app()["process_states"]) == ("frozen", "T")
    assert Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    for verb in ("wake", "apps/app/crash", "apps/app/start"):
        assert init.do(verb, 503)["error"] == "the phone is frozen: unfreeze it first"
    init.do("unfreeze")
    assert (init.state(), init.app()["process_states"], init.app()["pid"]) == ("awake", "S", pid)
    init.do("freeze")
    init.do("sleep")  # lets it go on first, or it could not stop
    assert (init.state(), init.app()["last_exit"]) == ("asleep", -signal.SIGTERM)
    assert not alive(child)
    assert "nothing runs that could be frozen" in init.do("freeze", 503)["error"]


def test_a_push_wakes_a_phone_that_sleeps_and_is_not_taken_while_it_is_frozen(phone: Callable[..., Init]) -> None:
    init = phone(AppSpec(name="app", command=SLEEPER))
    init.runs()
    push = {"method": "lsps5.payment_incoming"}
    init.do("push", body=push)
    init.runs(starts=1)  # nothing to do for a phone that is awake
    init.do("sleep")
    init.do("push", body=push)
    init.runs(starts=2)
    init.do("freeze")
    init.do("push", 503, push)
    assert init.state() == "frozen"


def test_what_crashes_is_started_again_and_leaves_nothing_behind(phone: Callable[..., Init], tmp_path: Path) -> None:
    init = phone(AppSpec(name="app", command=("sh", "-c", "sleep 1000 & echo $!; wait"), output="stdout"))
    init.runs()
    init.wait("tells", lambda: None if len(children(tmp_path)) == 1 else "no child yet")
    init.do("apps/app/crash")
    init.runs(starts=2)
    init.wait("tells", lambda: None if len(children(tmp_path)) == 2 else "no second child yet")
    first, second = children(tmp_path)
    assert (alive(first), alive(second)) == (False, True)


def children(folder: Path) -> list[int]:
    """What the app of the test above has printed, between the init's own lines."""
    return [int(line) for line in (folder / "stdout").read_text().splitlines() if line.isdigit()]


def test_what_ends_at_once_is_started_again_and_again_more_slowly(phone: Callable[..., Init]) -> None:
    init = phone(AppSpec(name="app", command=("false",)), AppSpec(name="absent", command=("no-such-command",)))
    init.wait("retried", lambda: None if init.app()["starts"] >= 3 and init.app("absent")["starts"] >= 3 else "not yet")
    assert (init.app()["last_exit"], init.app("absent")["last_exit"]) == (1, 127)


def test_what_has_crashed_is_not_started_while_the_phone_is_frozen(phone: Callable[..., Init]) -> None:
    init = phone(AppSpec(name="app", command=("false",)))
    init.wait("slowed_down", lambda: None if init.app()["starts"] >= 3 else "not yet")
    init.do("freeze")
    starts = init.app()["starts"]
    again = Predicate("started_again", lambda: None if init.app()["starts"] > starts else "not yet")
    with pytest.raises(WaitTimeoutError):
        wait_for(again, 2)  # longer than the pause before the fourth start
    init.do("unfreeze")
    wait_for(again)


@pytest.mark.parametrize("verb", ["stop", "kill"])
def test_an_app_that_is_told_to_stay_down_does_until_it_is_started(phone: Callable[..., Init], verb: str) -> None:
    init = phone(AppSpec(name="app", command=SLEEPER), AppSpec(name="other", command=SLEEPER))
    init.runs()
    init.runs("other")
    init.do(f"apps/app/{verb}")
    init.do("sleep")
    init.do("wake")
    init.runs("other", starts=2)
    assert (init.app()["pid"], init.app()["stays_down"], init.app()["starts"]) == (None, True, 1)
    init.do("apps/app/start")
    init.runs(starts=2)


def test_an_app_started_in_a_phone_that_sleeps_waits_for_it_to_wake(phone: Callable[..., Init]) -> None:
    init = phone(AppSpec(name="app", command=SLEEPER))
    init.runs()
    init.do("apps/app/kill")
    init.do("sleep")
    init.do("apps/app/start")
    assert (init.app()["pid"], init.app()["stays_down"]) == (None, False)
    init.do("wake")
    init.runs(starts=2)


def test_only_what_is_meant_for_programs_is_on_standard_output(phone: Callable[..., Init], tmp_path: Path) -> None:
    chatty = AppSpec(name="chatty", command=("sh", "-c", "echo chatter; sleep 1000"))
    tidy = AppSpec(name="tidy", command=("sh", "-c", "echo '{}'; sleep 1000"), output="stdout")
    phone(chatty, tidy)
    wait_for(Predicate("both_say", lambda: None if "{}" in (tmp_path / "stdout").read_text() else "not yet"), 10)
    wait_for(Predicate("both_say", lambda: None if "chatter" in (tmp_path / "stderr").read_text() else "not yet"), 10)
    assert "chatter" not in (tmp_path / "stdout").read_text()


ANSWERING = """
import asyncio, sys
from pathlib import Path
from asyncpay.service.common import control

async def name(arguments, progress):
    return {"name": "clock"}

async def serve():
    async with control.serving(Path(sys.argv[1]), {"name": name}):
        await asyncio.Event().wait()

asyncio.run(serve())
"""


def test_a_question_is_passed_on_to_the_app_and_its_answer_back(phone: Callable[..., Init], tmp_path: Path) -> None:
    socket_file = tmp_path / "app.sock"
    command = (sys.executable, "-c", ANSWERING, str(socket_file))
    init = phone(AppSpec(name="app", command=command, control=socket_file), AppSpec(name="mute", command=SLEEPER))
    init.wait("app_listens", lambda: None if socket_file.exists() else "not yet")
    init.wait("answered", lambda: None if init.ask("app", "name") == (200, {"name": "clock"}) else "not yet")
    assert init.ask("mute", "name") == (503, {"error": "no app mute answers questions"})
    assert "not understood" in init.ask("app", "weather")[1]["error"]
    init.do("freeze")
    assert init.ask("app", "name") == (503, {"error": "the phone is frozen: unfreeze it first"})
    init.do("unfreeze")
    init.do("apps/app/kill")
    assert "nothing answers at" in init.ask("app", "name")[1]["error"]


RECONNECTING = (
    ANSWERING.replace('{"name": name}', '{"reconnect": note}')
    .replace("async def name", "async def note")
    .replace('return {"name": "clock"}', 'Path(sys.argv[2]).open("a").write("told\\n")')
)


def test_an_app_that_runs_is_told_of_a_push_and_of_the_network(phone: Callable[..., Init], tmp_path: Path) -> None:
    socket_file, told = tmp_path / "app.sock", tmp_path / "told"
    command = (sys.executable, "-c", RECONNECTING, str(socket_file), str(told))
    mute = AppSpec(name="mute", command=SLEEPER, control=tmp_path / "nobody.sock")
    init = phone(mute, AppSpec(name="app", command=command, control=socket_file))

    def heard(times: int) -> Callable[[], str | None]:
        return lambda: None if told.exists() and told.read_text() == "told\n" * times else "not told yet"

    init.wait("app_listens", lambda: None if socket_file.exists() else "not yet")
    init.do("push", body={"method": "lsps5.payment_incoming"})
    init.wait("told_of_push", heard(1))
    init.do("online")
    init.wait("told_of_network", heard(2))
    init.do("sleep")
    socket_file.unlink(missing_ok=True)
    init.do("online")
    assert init.state() == "asleep", "a network wakes no phone"
    init.do("push", body={"method": "lsps5.payment_incoming"})
    init.runs("app", starts=2)
    init.do("freeze")
    init.do("online")


def test_what_it_does_not_know_is_refused(phone: Callable[..., Init]) -> None:
    init = phone(AppSpec(name="app", command=SLEEPER))
    assert "there is no app camera" in init.do("apps/camera/stop", 503)["error"]
    with pytest.raises(AssertionError, match="stop, kill, start, crash"):
        init.do("apps/app/dance")
    with pytest.raises(AssertionError, match="a push names its method"):
        init.do("push", body={})
