"""No command waits for packages that it does not need, and no run of pytest for those of a testbed."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "bitcoinlib",
    "docker",
    "grpc",
    "httpx",
    "pyln",
    "requests",
    "ruamel",
    "sqlalchemy",
    "trustme",
    "uv",
}
CLI = "import sys; sys.argv[0] = 'testbed'; from harness.cli.main import main\ntry: main()\nexcept SystemExit: pass"
ATTACH = "import sys; from harness.testbed import Testbed; Testbed.attach('x')"


def loaded(code: str, state: Path, *arguments: str) -> set[str]:
    """What of HEAVY a fresh Python has imported at the end."""
    told = code + "\nprint('LOADED', *{each.partition('.')[0] for each in sys.modules}, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", told, *arguments],
        env={"TESTBED_STATE": str(state), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("LOADED ")]
    return HEAVY & set(line.split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["list"], ["status"], ["phone", "A", "--help"]])
def test_commands_without_a_testbed(arguments: list[str], tmp_path: Path) -> None:
    allowed = {"docker", "grpc", "requests"} if arguments == ["status"] else set()
    assert loaded(CLI, tmp_path, *arguments) <= allowed


def test_a_testbed_is_found_again_without_what_made_it(tmp_path: Path) -> None:
    made = """import sys
from harness import service_images
from harness.testbed import Testbed
from harness.topology import load
service_images.ensure = lambda topology, _: dict.fromkeys(
    ["bitcoind", "push", "toxiproxy", "LSP_a-lsp", "LSP_b-lsp", *topology.nodes], "i")
service_images.identities = lambda references: {}
service_images.beginnings = lambda topology, report: {}
Testbed.prepare(load("line"), "x")"""
    assert {"ruamel", "trustme"} <= loaded(made, tmp_path)
    assert loaded(ATTACH, tmp_path) == {"docker", "grpc", "requests"}


def test_every_run_of_pytest(tmp_path: Path) -> None:
    assert loaded("import sys; import harness.pytest_plugin", tmp_path) == set()
