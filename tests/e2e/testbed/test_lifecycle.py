"""Testbeds are removed completely, also when `up` is killed. test_snapshots.py runs two at the same time."""

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.engines import open_engine
from harness.paths import state_home
from harness.testbed import PROJECT_PREFIX, remove
from harness.waits import Predicate, wait_for

pytestmark = pytest.mark.seconds(15)

COMMAND = str(Path(sys.executable).with_name("testbed"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)


def leftovers(name: str) -> list[str]:
    """Return the remains of a testbed on this machine."""
    folder = state_home() / name
    on_engine = open_engine(PROJECT_PREFIX + name, Path("none"), Path("none")).leftovers()
    return on_engine + ([str(folder)] if folder.exists() else [])


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a testbed that this test starts itself; its remains are removed at the end."""
    name = f"lifecycle-{uuid.uuid4().hex[:8]}"
    yield name
    if (state_home() / name).exists():
        remove(name)


@pytest.mark.parametrize("moment", ["containers are being made", "nodes start"])
def test_down_after_a_killed_up(name: str, pair_file: Path, moment: str) -> None:
    engine = open_engine(PROJECT_PREFIX + name, state_home() / name / "compose.yaml", state_home() / name)
    up = subprocess.Popen([COMMAND, "up", str(pair_file), "--name", name], stderr=subprocess.DEVNULL)
    wanted = {"containers are being made": "bitcoind", "nodes start": "B"}[moment]
    seen = Predicate("container_there", lambda: None if wanted in engine.states() else f"no {wanted} yet")
    wait_for(seen, timeout_seconds=60)
    up.send_signal(signal.SIGKILL)
    up.wait()
    assert leftovers(name) != []

    down = run("down", "--testbed", name)

    assert down.returncode == 0, down.stderr
    assert leftovers(name) == []


@pytest.mark.parametrize(
    ("sent", "interrupts"),
    [
        pytest.param(signal.SIGINT, signal.SIG_DFL, id="ctrl-c"),
        pytest.param(signal.SIGTERM, signal.SIG_IGN, id="terminated in the background"),
    ],
)
def test_an_up_that_is_stopped_cleans_up(
    name: str, pair_file: Path, sent: signal.Signals, interrupts: signal.Handlers
) -> None:
    engine = open_engine(PROJECT_PREFIX + name, state_home() / name / "compose.yaml", state_home() / name)
    up = subprocess.Popen(
        [COMMAND, "up", str(pair_file), "--name", name],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, interrupts),  # whatever these tests inherited
    )
    wait_for(Predicate("node_runs", lambda: None if engine.states().get("A") == "running" else "no A yet"), 60)
    up.send_signal(sent)
    _, said = up.communicate(timeout=120)
    assert up.returncode == 130
    assert "Traceback" not in said
    assert leftovers(name) == []


def test_the_callers_surroundings_change_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose reads `.env` and COMPOSE_*, it expands dollars, and gRPC uses proxies: none of that affects a testbed."""
    (tmp_path / ".env").write_text('KEY="unterminated\n')
    (tmp_path / "one.yaml").write_text("nodes: {A: {role: router, args: ['--alias=cash$money${HOME}${']}}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPOSE_FILE", str(tmp_path / "theirs.yaml"))
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "theirs")
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")

    up = run("up", "one.yaml", "--name", name)

    assert up.returncode == 0, up.stderr
    assert json.loads(run("exec", "A", "-t", name, "--", "getinfo").stdout)["alias"] == "cash$money${HOME}${"
    assert json.loads(run("status", "-t", name, "--json").stdout)["nodes"][0]["synced"]
    (state_home() / name / "compose.yaml").write_text("x-testbed: [")  # as a full disk may leave it
    assert run("status", "-t", name).returncode == 2
    assert run("down", "-t", name).returncode == 0
    assert leftovers(name) == []


PHONE = "nodes: {A: {role: payer, component: %s, args: [%s]}, L: {role: lsp, component: asyncpay}}\n" + (
    "channels: [{from: A, to: L, capacity_sat: 1_000_000, private: true}]\n"
)


@pytest.mark.parametrize(
    ("topology", "said"),
    [
        pytest.param("nodes: {A: {role: router, args: [--bogus]}}", ["A has ended (exit code 1)", "bogus"], id="node"),
        pytest.param(
            "chain: {args: [-blocksdir=/none]}\nnodes: {A: {role: router}}",
            ["bitcoind has ended (exit code 1)", "/none"],
            id="bitcoind",
        ),
        pytest.param(
            PHONE % ("asyncpay", "--bogus"),
            ["the node of A ends whenever it is started", "bogus"],
            id="node of a phone",
        ),
        pytest.param(
            PHONE % ("{args: [--bogus]}", ""), ["the wallet of A has ended (exit code 2)"], id="wallet of a phone"
        ),
        pytest.param(
            PHONE.replace("lsp, component: asyncpay", "lsp, component: {args: [--bogus]}") % ("asyncpay", ""),
            ["L-lsp has ended (exit code 2)", "bogus"],
            id="component",
        ),
    ],
)
def test_what_ends_at_once_is_told_with_its_last_words(
    name: str, tmp_path: Path, topology: str, said: list[str]
) -> None:
    (tmp_path / "one.yaml").write_text(topology)
    up = run("up", str(tmp_path / "one.yaml"), "--name", name)
    assert up.returncode == 2
    assert [words for words in said if words not in up.stderr] == [], up.stderr
    assert "not reached in" not in up.stderr
    assert "Traceback" not in up.stderr


def test_everything_by_the_command_line(name: str, pair_file: Path) -> None:
    up = run("up", str(pair_file), "--name", name, "--json")
    assert up.returncode == 0, up.stderr
    assert set(json.loads(up.stdout)["phases_seconds"]) >= {"containers", "graph complete"}

    again = run("up", str(pair_file), "--name", name)
    assert again.returncode == 2
    assert "there already" in again.stderr

    paid = json.loads(run("pay", "A", "B", "1000sat", "-t", name, "--json").stdout)
    assert paid["amount_msat"] == 1_000_000

    status = json.loads(run("status", "-t", name, "--json").stdout)
    assert [(n["name"], n["container"], n["synced"]) for n in status["nodes"]] == [
        ("A", "running", True),
        ("B", "running", True),
    ]
    (channel,) = status["channels"]
    assert (channel["ends"], channel["balances_msat"]) == (["A", "B"], [499_000_000, 501_000_000])
    assert "499 000" in run("status", "-t", name).stdout

    own_cli = json.loads(run("exec", "B", "-t", name, "--", "getinfo").stdout)
    assert own_cli["identity_pubkey"] == status["nodes"][1]["node_id"]

    assert run("mine", "3", "-t", name).stdout.strip() == f"block {status['height_blocks'] + 3}"
    mined = json.loads(run("mine", "-t", name, "--json").stdout)
    assert mined == {"height_blocks": status["height_blocks"] + 4}
    assert "UpdateTip" in run("logs", "bitcoind", "-t", name).stdout
    assert name in run("list").stdout

    stranger = run("pay", "A", "nobody", "1000sat", "-t", name)
    assert stranger.returncode == 2
    assert "no node nobody (nodes: A, B)" in stranger.stderr
    too_much = run("pay", "A", "B", "490000sat", "-t", name)
    assert too_much.returncode == 2
    assert "A (LND) could not pay" in too_much.stderr

    assert run("down", "-t", name).returncode == 0
    assert leftovers(name) == []
