"""A failing test leaves the artifacts that are needed to understand it."""

import json
import subprocess
import sys
from pathlib import Path

TEST = """
import pytest
from harness.checks import balances
from harness.topology import load

@pytest.fixture(scope="session")
def testbed_topology():
    return load({pair!r})

def test_that_fails(testbed):
    testbed.pay("A", "B", 1_000_000)
    balances.count(testbed)  # waits until both ends have settled it
    assert False, "on purpose"
"""


def test_a_failing_test_leaves_its_artifacts(pair_file: Path, tmp_path: Path) -> None:
    (tmp_path / "test_failing.py").write_text(TEST.format(pair=str(pair_file)), encoding="utf-8")
    artifacts = tmp_path / "artifacts"
    command = [sys.executable, "-m", "pytest", "-q", "--testbed-artifacts", str(artifacts), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert result.returncode == 1, result.stdout
    (folder,) = artifacts.glob("*test_that_fails*/*")
    assert str(folder) in result.stdout
    assert {file.name for file in folder.iterdir()} == {
        "compose.yaml",
        "status.json",
        "bitcoind.log",
        "miner.log",
        "A.log",
        "B.log",
        "testbed.log",
        "recording.json",
        "timeline.json",
        "timeline.html",
    }
    (channel,) = json.loads((folder / "status.json").read_text())["channels"]
    assert channel["balances_msat"] == [499_000_000, 501_000_000]
    assert b"UpdateTip" in (folder / "bitcoind.log").read_bytes()
