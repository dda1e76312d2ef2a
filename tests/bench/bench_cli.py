"""How long the command lines take that people run all day, on one running line.yaml, against their targets.

    python -m tests.bench.bench_cli [RUNS=10]

Each is timed as a whole process; `asyncpay wallet status` inside phone A, without the way into its container. The time
of `python -c pass` tells how fast this machine is; the CPU time of each command hardly depends on other processes. The
commands may store their bytecode, also if PYTHONDONTWRITEBYTECODE is set here: otherwise each compiles the project.
Also how many requests one status makes of Docker. Writes artifacts/bench/cli.json.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import requests
from rich.console import Console
from rich.table import Table

from harness import bringup
from harness.checks import status
from harness.progress import Phases
from harness.testbed import Testbed
from harness.topology import load

TESTBED = str(Path(sys.executable).with_name("testbed"))
TARGETS_SECONDS = {"testbed --help": 0.3, "testbed list": 0.3, "testbed status": 0.8, "asyncpay wallet status": 0.3}
INSIDE = """import subprocess, time
began = time.monotonic()
subprocess.run(["asyncpay", "wallet", "status"], check=True, capture_output=True)
print(time.monotonic() - began)"""
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
CONSOLE = Console()


def seconds_of(command: list[str]) -> tuple[float, float]:
    """One run of a command on this machine, and the CPU time of it."""
    began, began_cpu = time.monotonic(), cpu_seconds_of_children()
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    return time.monotonic() - began, cpu_seconds_of_children() - began_cpu


def cpu_seconds_of_children() -> float:
    """Of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds_inside(testbed: Testbed, phone: str) -> float:
    """One run of `asyncpay wallet status` in a phone."""
    return float(testbed.engine.output(phone, ["python3", "-I", "-S", "-c", INSIDE]).stdout)


def requests_of_status(testbed: Testbed) -> int:
    """How many HTTP requests one look makes of Docker."""
    count = 0
    send = requests.Session.send

    def counting(session: requests.Session, request: requests.PreparedRequest, **options: object) -> requests.Response:
        nonlocal count
        count += "docker" in str(request.url)
        return send(session, request, **options)  # type: ignore[arg-type]

    with patch.object(requests.Session, "send", counting):
        status.look(Testbed.attach(testbed.name))
    return count


def main(runs: int) -> int:
    """Measure in turn, print medians, keep the figures; exit code 1 above a target."""
    testbed = Testbed.prepare(load("line"), f"bench-cli-{os.getpid()}")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "testbed --help": [TESTBED, "--help"],
        "testbed list": [TESTBED, "list"],
        "testbed status": [TESTBED, "status", "-t", testbed.name],
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*commands, "asyncpay wallet status")}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in commands}
    try:
        with CONSOLE.status("up line"):
            bringup.up(testbed, Phases())
        for _ in range(runs):  # in turn, so that the machine's moods touch all
            for name, command in commands.items():
                taken, used = seconds_of(command)
                seconds[name].append(taken)
                cpu_seconds[name].append(used)
            seconds["asyncpay wallet status"].append(seconds_inside(testbed, "A"))
        asked = requests_of_status(testbed)
    finally:
        testbed.down()
    table = Table(title=f"command lines, {runs} runs", title_justify="left")
    for heading in ("command", "least", "median", "target", "CPU time"):
        table.add_column(heading, justify="left" if heading == "command" else "right")
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    for name, each in seconds.items():
        target = f"{TARGETS_SECONDS[name]:g} s" if name in TARGETS_SECONDS else ""
        cpu = f"{statistics.median(cpu_seconds[name]):.2f} s" if name in cpu_seconds else ""
        table.add_row(name, f"{min(each):.2f} s", f"{medians[name]:.2f} s", target, cpu)
    CONSOLE.print(table)
    CONSOLE.print(f"one status makes {asked} requests of Docker")
    file = Path("artifacts/bench/cli.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = {
        "runs": runs,
        "load": os.getloadavg(),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "docker_requests": asked,
    }
    file.write_text(json.dumps(kept, indent=2))
    return int(any(medians[name] > target for name, target in TARGETS_SECONDS.items()))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
