"""The folders of the testbeds on this machine; each has the compose file, node ids, sockets and a lock."""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.actions import ACTIONS
from harness.errors import TestbedError
from harness.paths import state_home
from harness.waits import Predicate, wait_for

EXTENSION = "x-testbed"
"""The testbed's own section of a compose file; no other compose file has it."""
COMPOSE_FILE, PARSED_FILE, LOCK, NODE_IDS, SOCKETS = "compose.yaml", "compose.json", "lock", "node-ids.json", "sockets"
ENV, CREDENTIALS = "env", "credentials"
"""The contents of a testbed's folder."""
PART = ".part"
"""Suffix of a file that is not completely written yet."""
LOCK_SECONDS = 120
"""How long `down` waits for an `up` that is still starting containers, even if its parent was killed."""


def folder_of(name: str) -> Path:
    """Return the folder of a testbed with this name. Raises TestbedError if the name is not valid."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", name):
        raise TestbedError(f"{name!r} is not a valid name for a testbed. Use lower-case letters, digits, - and _")
    return state_home() / name


def identity(folder: Path) -> tuple[int, int] | None:
    """Return the identity of a testbed, which a later one of the same name does not share; None if there is none."""
    try:
        seen = (folder / COMPOSE_FILE).stat()  # it is written once
    except OSError:
        return None
    return seen.st_ino, seen.st_mtime_ns


def make_home() -> None:
    """Create the folder of all testbeds, before any slow operation. Raises TestbedError."""
    try:
        state_home().mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unwritable(error) from None


def _unwritable(error: OSError) -> TestbedError:
    return TestbedError(
        f"{error.filename} cannot be made: {error.strerror}. Set TESTBED_STATE to a folder that you may write to"
    )


def create(name: str) -> Path:
    """Create the folder of a new testbed. Raises TestbedError if a testbed with this name exists already."""
    folder = folder_of(name)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        refuse_foreign(folder)
        raise TestbedError(
            f"a testbed named {name} is there already; remove it with `testbed down --testbed {name}`, "
            "or give this one another --name"
        ) from None
    except OSError as error:
        raise _unwritable(error) from None
    return folder


def names() -> list[str]:
    """Return the names of the testbeds on this machine, including remains of an interrupted `up` or `down`."""
    home = state_home()
    return sorted(folder.name for folder in home.iterdir() if _is_testbed(folder)) if home.is_dir() else []


def choose(name: str | None) -> str:
    """Return this name, or that of the only testbed. Raises TestbedError if there is no such testbed."""
    there = names()
    if name is None and len(there) != 1:
        raise TestbedError(
            f"several testbeds are up: choose one with --testbed ({', '.join(there)})"
            if there
            else "no testbed is up; start one with `testbed up line`"
        )
    name = there[0] if name is None else name
    if name not in there:
        refuse_foreign(folder_of(name))
        raise TestbedError(f"there is no testbed named {name} (up: {', '.join(there) or 'none'})")
    return name


def summary(name: str) -> dict[str, list[str]]:
    """The names of a testbed's services, nodes, phones, and nodes with an LSP's component; nothing if unreadable."""
    try:
        content = json.loads((folder_of(name) / PARSED_FILE).read_text(encoding="utf-8"))["content"]
        nodes = content[EXTENSION]["topology"]["nodes"]
        phones = [node for node, spec in nodes.items() if spec["component"] and spec["role"] in ("payer", "payee")]
        lsps = [node for node, spec in nodes.items() if spec["component"] and node not in phones]
        return {"services": list(content["services"]), "nodes": list(nodes), "phones": phones, "lsps": lsps}
    except (OSError, ValueError, LookupError, TypeError):
        return {"services": [], "nodes": [], "phones": [], "lsps": []}


def refuse_foreign(folder: Path) -> None:
    """Raise TestbedError if the folder exists and is not a testbed's: its files are not touched."""
    if folder.exists() and not _is_testbed(folder):
        raise TestbedError(
            f"{folder} is not a testbed's folder. Move it away, give the testbed another --name, or set TESTBED_STATE "
            "to a folder that is used only for testbeds"
        )


def _is_testbed(folder: Path) -> bool:
    """Whether the folder contains only files that `create` and a testbed make."""
    if not folder.is_dir():
        return False
    made = {COMPOSE_FILE, COMPOSE_FILE + PART, PARSED_FILE, LOCK, NODE_IDS, NODE_IDS + PART, SOCKETS, ACTIONS}
    file = folder / COMPOSE_FILE
    ours = not file.exists() or f"{EXTENSION}:" in file.read_text(encoding="utf-8", errors="replace")
    return ours and {path.name for path in folder.iterdir()} <= made | {ENV, CREDENTIALS}


@contextmanager
def locked(name: str, folder: Path) -> Iterator[int]:
    """Hold a testbed's lock. A child that inherits the descriptor keeps holding it if this process is killed."""
    descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        wait_for(Predicate("no_other_command_at_work", lambda: _lock(descriptor, name)), LOCK_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)


def remove_folder(folder: Path) -> None:
    """Remove a testbed's folder, if it is there. Raises TestbedError."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise TestbedError(f"{error.filename} cannot be removed: {error.strerror}. Remove {folder} by hand") from None


def _lock(descriptor: int, name: str) -> str | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return f"another command is still starting or removing containers of {name}"
    return None


def write_node_ids(folder: Path, node_ids: Mapping[str, str]) -> None:
    """Write the id of each node of a testbed, by the node's name, atomically."""
    part = folder / (NODE_IDS + PART)
    part.write_text(json.dumps(dict(node_ids)))
    part.replace(folder / NODE_IDS)


def read_node_ids(folder: Path) -> dict[str, str]:
    """Return the node ids that were last written; empty if there are none."""
    file = folder / NODE_IDS
    return dict(json.loads(file.read_text())) if file.exists() else {}
