"""The artifacts of a failure: the compose file, every container's log, nodes and channels, and the timeline."""

import json
from pathlib import Path

from harness.checks import status
from harness.errors import TestbedError
from harness.testbed import Testbed
from harness.timeline import recording, story
from harness.timeline.page import page

TIMELINE, TIMELINE_PAGE = "timeline.json", "timeline.html"
"""The timeline as JSON, and as a page."""


def collect(testbed: Testbed, folder: Path) -> None:
    """Write the state and logs of a testbed into a folder. What could not be collected is listed there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "compose.yaml").write_bytes(testbed.engine.compose_file.read_bytes())
    problems = []
    try:
        (folder / "status.json").write_text(json.dumps(status.look(testbed).as_json(), indent=2), encoding="utf-8")
    except TestbedError as error:
        problems.append(f"status: {error}")
    problems += write_timeline(testbed, folder)
    if problems:
        (folder / "missing.txt").write_text("\n".join(problems) + "\n", encoding="utf-8")


def write_timeline(testbed: Testbed, folder: Path) -> list[str]:
    """Write the timeline into a folder, as JSON and as a page, with its source logs. Return its problems."""
    folder.mkdir(parents=True, exist_ok=True)
    recorded = recording.gather(testbed)
    recorded.write(folder)
    try:
        told = story.tell(recorded)
        (folder / TIMELINE).write_text(json.dumps(told.as_json()), encoding="utf-8")
        (folder / TIMELINE_PAGE).write_text(page(told), encoding="utf-8")
    except Exception as error:  # the logs are written, and an error here must not hide the original failure
        return [*recorded.problems, f"{TIMELINE}: unexpected error {error!r}"]
    return list(recorded.problems)
