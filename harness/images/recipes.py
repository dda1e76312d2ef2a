"""How an image is made on this machine: out of package registries, or of an install tree.

What docker/<kind>/Dockerfile copies is gathered in a folder, by the build.sh beside it or from the tree;
then the engine builds the image from that folder. The tag ends in a fingerprint of all that the image is
made from, so an image of that name is never stale.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
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
from harness.progress import Heartbeat, Report

FOLDER = paths.DOCKER


class RecipeError(TestbedError):
    """An image cannot be made on this machine; the message says why, and where the whole log is."""


def read_versions(folder: Path = FOLDER) -> dict[str, str]:
    """The pins of docker/versions.env and docker/*/versions.env: name -> value."""
    files = [folder / "versions.env", *sorted(folder.glob("*/versions.env"))]
    lines = (line.strip() for file in files for line in file.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


VERSIONS = read_versions()

_PACKAGES = {"asyncpay": {"asyncpay": Path(asyncpay.__file__).parent, "harness/inside": paths.PACKAGE / "inside"}}
"""Python packages that go into an image as they are installed here; of a checkout with changes not committed."""


@dataclass(frozen=True)
class Official:
    """An image that a registry publishes under this name."""

    reference: str


@dataclass(frozen=True)
class Recipe:
    """What makes the image of one kind (a folder of docker/).

    tree: what goes into it, instead of what build.sh gathers. official: what it builds upon, instead of docker/base.
    node: the image out of which it takes a node's programs; programs: their names.
    """

    kind: str
    tree: InstallTree | None = None
    official: Official | None = None
    node: str | None = None
    programs: tuple[str, ...] = ()

    @property
    def base(self) -> "Official | Recipe | None":
        """The image that this one builds upon."""
        if "ARG BASE" not in (FOLDER / self.kind / "Dockerfile").read_text():
            return None
        return self.official or Recipe("base")

    @cached_property
    def reference(self) -> str:
        """The image's name and tag: it exists on the engine if and only if there is nothing left to make."""
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
    def source(self) -> str:
        """What the image is made from, for the user."""
        if self.tree:
            version = self.tree.version() or "which does not run on this machine"
            return f"{self.tree.prefix} ({self.tree.named_by}, {version})"
        return str(facts(self.kind).made_from)

    def make(self, engine: docker.DockerClient, report: Report) -> None:
        """Make the image and leave it on the engine. Raises RecipeError or InstallTreeError."""
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=f"{self.kind}-") as context:
            self._gather(Path(context), report)
            if replace(self).reference != self.reference:
                raise RecipeError(f"{self.kind}: what it is made from changed while it was being made; try again")
            self._build(engine, Path(context))

    def _gather(self, context: Path, report: Report) -> None:
        shutil.copy2(FOLDER / self.kind / "Dockerfile", context)
        for name, package in _PACKAGES.get(self.kind, {}).items():
            shutil.copytree(package, context / name, ignore=shutil.ignore_patterns("__pycache__"))
        if self.tree:
            self.tree.copy_to(context / "root")
        elif (FOLDER / self.kind / "build.sh").exists():
            _run(self.kind, ["bash", str(FOLDER / self.kind / "build.sh"), str(context)], self._arguments, report)

    @property
    def _arguments(self) -> dict[str, str]:
        """What build.sh finds in its environment, and the Dockerfile as its ARG."""
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


def _run(kind: str, command: list[str], arguments: dict[str, str], report: Report) -> None:
    """Run a build script; its output goes into a log, its latest line to the user now and then."""
    log = _log_file(kind)
    environment = os.environ | {"TESTBED_CACHE": str(cache_folder()), "UV": find_uv_bin(), "HOME": str(_home())}
    environment |= arguments
    heartbeat = Heartbeat()
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
            if heartbeat.due():
                report(f"{kind}: {heartbeat.elapsed_seconds:.0f} s, now at {line.strip()}")
    if process.returncode:
        raise RecipeError(
            f"{kind}: {' '.join(command)} failed (exit {process.returncode}, log: {log}):\n{_end_of(log)}"
        )


def _home() -> Path:
    """Where build scripts' tools, Go and uv, keep caches of their own: the user's home, if that is a place to write."""
    with suppress(RuntimeError):  # no home at all
        if os.access(Path.home(), os.W_OK):
            return Path.home()
    return cache_folder("home")


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text().splitlines()[-5:])
