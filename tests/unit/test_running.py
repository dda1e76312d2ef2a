"""The components as processes: what they leave on the disk, and how they end."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMPONENTS = {"lsp": ["lsp"], "wallet": ["wallet", "run"]}
WAIT_SECONDS = 30


@pytest.mark.parametrize("component", COMPONENTS)
def test_only_its_user_may_read_what_a_component_writes(tmp_path: Path, component: str) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    config, log = tmp_path / "config.toml", tmp_path / "log"
    node = f"[node]\nimplementation = 'cln'\nrpc_file = '{tmp_path / 'none'}'\n"
    config.write_text(f"{node}[store]\npath = '{folder / 'store.sqlite'}'\n")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("asyncpay"), *COMPONENTS[component], "--config", config],
            stdout=output,
            stderr=subprocess.STDOUT,
            umask=0,
        )
    try:
        expected = {f"store.sqlite{suffix}" for suffix in ("", ".lock", ".sock", "-wal", "-shm")}
        names = _until_there(folder, expected, process, log)
        modes = {name: (folder / name).stat().st_mode & 0o777 for name in names}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_SECONDS)
    assert modes == dict.fromkeys(expected, 0o600)
    assert process.returncode == 0, log.read_text()


def _until_there(folder: Path, expected: set[str], process: subprocess.Popen[bytes], log: Path) -> set[str]:
    """The names in the folder once all of these are there."""
    deadline = time.monotonic() + WAIT_SECONDS
    names: set[str] = set()
    while not names >= expected:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"only {names} after {WAIT_SECONDS} s: {log.read_text()}"
        time.sleep(0.05)
        names = {file.name for file in folder.iterdir()}
    return names
