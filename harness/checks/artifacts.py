"""What a failure leaves behind: the compose file, every container's log, the state of nodes and channels."""

import json
from pathlib import Path

from harness.checks import status
from harness.errors import TestbedError
from harness.testbed import Testbed


def collect(testbed: Testbed, folder: Path) -> None:
    """Write everything that tells what a testbed is doing into a folder. Whatever cannot be had is named there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "compose.yaml").write_bytes(testbed.engine.compose_file.read_bytes())
    problems = []
    try:
        (folder / "status.json").write_text(json.dumps(status.look(testbed).as_json(), indent=2), encoding="utf-8")
    except TestbedError as error:
        problems.append(f"status: {error}")
    for service in testbed.services:
        try:
            (folder / f"{service}.log").write_bytes(testbed.engine.logs(service, timestamps=True))
        except TestbedError as error:
            problems.append(f"{service}: {error}")
    if problems:
        (folder / "missing.txt").write_text("\n".join(problems) + "\n", encoding="utf-8")
