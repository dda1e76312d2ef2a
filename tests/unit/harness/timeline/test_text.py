"""A story on the terminal: what came from outside is shown to the letter."""

import io
import json
from pathlib import Path

from typer.testing import CliRunner

from asyncpay.terminal import SafeConsole
from harness.cli.main import app
from harness.timeline import text
from harness.timeline.model import Event, Kind, Timeline

RECORDINGS = Path(__file__).parent / "recordings"


def shown(*events: Event, problems: tuple[str, ...] = ()) -> str:
    console = SafeConsole(file=io.StringIO(), width=200, force_terminal=False)
    console.print(text.rendered(Timeline(testbed="x", events=events, problems=problems)), soft_wrap=True)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_escape_sequences_markup_and_line_breaks_are_shown_and_not_obeyed() -> None:
    hostile = "\x1b[2J[red]x[/red]\n\x1b]8;;http://evil\x07\u202eevil"
    printed = shown(
        Event(time=1, lane="A", kind=Kind.COMPONENT, what=hostile, text=hostile, because=hostile, to=hostile),
        problems=(hostile,),
    )
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "\u202e" not in printed
    assert "[red]x[/red]" in printed


def test_an_event_is_one_line() -> None:
    event = Event(time=1, lane="A", kind=Kind.DECISION, what="held", because="one\ntwo\r\nthree", step=3)
    (line,) = shown(event).splitlines()
    assert "step 3: held (because: one two" in line


def test_what_did_not_arrive_is_said_once_it_is_over() -> None:
    event = Event(time=1, lane="A", to="B", kind=Kind.ONION, what="onion_message")
    assert "not seen to arrive" in shown(event)
    assert "not seen to arrive" not in text.event_line(event).plain


def test_a_story_without_events_says_so() -> None:
    assert shown() == "No recorded event matches.\n"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["timeline", *arguments])
    return f"{result.exit_code}\n{result.output}"


def test_the_command_tells_a_folder_of_artifacts() -> None:
    said = run("--from", str(RECORDINGS / "lnd"))
    assert said.startswith("0\npayment ")
    for number in range(1, 9):
        assert f"step {number}  " in said
    assert "A → LSP_a" in said
    assert "update_fulfill_htlc" in said


def test_what_cannot_be_read_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"version": 1, "testbed": 7}')
    assert run("--from", str(tmp_path / "x.json")).startswith("2\nerror: ")
    assert "is not a timeline: testbed: " in run("--from", str(tmp_path / "x.json"))
    assert "has no recording" in run("--from", str(tmp_path))
    assert "cannot be read: No such file or directory" in run("--from", str(tmp_path / "none"))
    (tmp_path / "x.json").write_text('{"version": 2, "testbed": "x"}')
    assert "it has version 2 of the format" in run("--from", str(tmp_path / "x.json"))
    assert "Choose from: decision, htlc" in run("--from", str(RECORDINGS / "lnd"), "--kind", "nothing")
    assert "bob is not in the timeline. Choose from: A, B" in run("--from", str(RECORDINGS / "lnd"), "--node", "bob")


def test_a_foreign_recording_is_told_or_refused_in_one_sentence(tmp_path: Path) -> None:
    """Whoever has sent the folder: a log that is no file is left out, and a time far from ours ends no command."""
    for file in (RECORDINGS / "lnd").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "endless.log").symlink_to("/dev/zero")
    assert "endless.log is omitted: it is not a regular file" in " ".join(run("--from", str(tmp_path)).split())
    (tmp_path / "LSP_a.log").write_bytes(b"9999-12-31T00:00:00.5Z x\n")
    context = json.loads((tmp_path / "recording.json").read_text())
    (tmp_path / "recording.json").write_text(json.dumps(context | {"testbed": "x" * 10_000}))
    said = run("--from", str(tmp_path))
    assert said.startswith("2\nerror: ")
    assert "cannot be used" in said
