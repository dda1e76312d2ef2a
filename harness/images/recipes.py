"""Build an image on this machine: from package registries, or from an install tree.

The files that docker/<kind>/Dockerfile copies are collected in a folder, by the build.sh next to it or from the tree;
then the engine builds the image from that folder. The tag ends in a fingerprint of all inputs of the build, so an
image with that name is never stale.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import docker
from docker.errors import BuildError
from uv import find_uv_bin

import asyncpay
from harness import paths
from harness.errors import TestbedError
from harness.images.install_tree import InstallTree
from harness.images.kinds import facts
from harness.paths import cache_folder

FOLDER = paths.DOCKER


class RecipeError(TestbedError):
    """An image cannot be built on this machine; the message says why, and where the complete log is."""


def read_versions(folder: Path = FOLDER) -> dict[str, str]:
    """The pins of docker/versions.env and docker/*/versions.env: name -> value."""
    files = [folder / "versions.env", *sorted(folder.glob("*/versions.env"))]
    lines = (line.strip() for file in files for line in file.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


VERSIONS = read_versions()

_PACKAGES = {"asyncpay": {"asyncpay": Path(asyncpay.__file__).parent, "harness/inside": paths.PACKAGE / "inside"}}
"""Python packages that are copied into an image from this installation; from a checkout with uncommitted changes."""


@dataclass(frozen=True)
class Official:
    """An image that a registry publishes under this name."""

    reference: str


@dataclass(frozen=True)
class Recipe:
    """The recipe for the image of one kind (a folder of docker/).

    tree: the files of the image, instead of those that build.sh collects. official: its base, instead of docker/base.
    node: the image from which it copies a node's programs; programs: their names.
    """

    kind: str
    tree: InstallTree | None = None
    official: Official | None = None
    node: str | None = None
    programs: tuple[str, ...] = ()

    @property
    def base(self) -> "Official | Recipe | None":
        """The image that this one is built on."""
        if "ARG BASE" not in (FOLDER / self.kind / "Dockerfile").read_text():
            return None
        return self.official or Recipe("base")

    @cached_property
    def reference(self) -> str:
        """The image's name and tag: if it exists on the engine, it is up to date."""
        name, _, version = VERSIONS[f"{self.kind.upper()}_HOMEMADE"].partition(":")
        return f"{name}:{'tree' if self.tree else version}-{self._fingerprint()[:10]}"

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        folder = FOLDER / self.kind
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                text = path.read_text()
                pins = [f"{name}={value}" for name, value in VERSIONS.items() if name in text]
                digest.update("\n".join([str(path.relative_to(folder)), text, *pins]).encode())
        for package in _PACKAGES.get(self.kind, {}).values():
            for path in sorted(package.rglob("*")):
                if path.is_file() and path.suffix != ".pyc":
                    digest.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
        if self.tree:
            digest.update(self.tree.fingerprint().encode())
        digest.update("\n".join(self._arguments.values()).encode())
        return digest.hexdigest()

    @property
    def name(self) -> str:
        """The image's name and version, without the fingerprint of its inputs."""
        return self.reference.rpartition("-")[0]

    @property
    def source(self) -> str:
        """The source that the image is built from, for messages."""
        if self.tree:
            version = self.tree.version() or "which does not run on this machine"
            return f"{self.tree.prefix} ({self.tree.named_by}, {version})"
        return str(facts(self.kind).made_from)

    def make(self, engine: docker.DockerClient, step: Callable[[str], None]) -> None:
        """Build the image on the engine. Raises RecipeError or InstallTreeError.

        step: takes each line of the build script's output.
        """
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=f"{self.kind}-") as context:
            self._gather(Path(context), step)
            if replace(self).reference != self.reference:
                raise RecipeError(f"{self.kind} cannot be built: its sources changed during the build. Try again")
            self._build(engine, Path(context))

    def _gather(self, context: Path, step: Callable[[str], None]) -> None:
        shutil.copy2(FOLDER / self.kind / "Dockerfile", context)
        for name, package in _PACKAGES.get(self.kind, {}).items():
            shutil.copytree(package, context / name, ignore=shutil.ignore_patterns("__pycache__"))
        if self.tree:
            self.tree.copy_to(context / "root")
        elif (FOLDER / self.kind / "build.sh").exists():
            _run(self.kind, ["bash", str(FOLDER / self.kind / "build.sh"), str(context)], self._arguments, step)

    @property
    def _arguments(self) -> dict[str, str]:
        """The environment variables of build.sh, which are also the Dockerfile's ARGs."""
        node = {"NODE": self.node, "PROGRAMS": " ".join(self.programs)} if self.node else {}
        return node | ({"BASE": self.base.reference} if self.base else {})

    def _build(self, engine: docker.DockerClient, context: Path) -> None:
        try:
            engine.images.build(path=str(context), tag=self.reference, buildargs=self._arguments, rm=True, forcerm=True)
        except BuildError as error:
            output = "".join(entry.get("stream", "") for entry in error.build_log)
            log = _log_file(self.kind)
            log.write_text(output)
            raise RecipeError(f"{self.kind}: {error.msg} (log: {log}):\n{_end_of(log)}") from error


def _log_file(kind: str) -> Path:
    return cache_folder("logs") / f"{kind}.log"


def _run(kind: str, command: list[str], arguments: dict[str, str], step: Callable[[str], None]) -> None:
    """Run a build script; write its output to a log, and pass on each line."""
    log = _log_file(kind)
    environment = os.environ | {"TESTBED_CACHE": str(cache_folder()), "UV": find_uv_bin(), "HOME": str(_home())}
    environment |= arguments
    with (
        log.open("w") as output,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            output.write(line)
            output.flush()
            step(line.strip())
    if process.returncode:
        raise RecipeError(
            f"{kind}: {' '.join(command)} failed (exit {process.returncode}, log: {log}):\n{_end_of(log)}"
        )


def _home() -> Path:
    """Return the folder for the caches of Go and uv in build scripts: the user's home, if it is writable."""
    with suppress(RuntimeError):  # no home directory
        if os.access(Path.home(), os.W_OK):
            return Path.home()
    return cache_folder("home")


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text().splitlines()[-5:])
