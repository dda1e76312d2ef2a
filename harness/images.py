"""The container images of the testbed: the official ones, or the same made here where no registry answers.

For each kind of image there is a list of ways to have it, the preferred one first:

    LND_PREFIX, CLN_PREFIX   an install tree that the user names; it is then the only way
    the official image       docker/versions.env names and pins it
    lnd, lightningd on PATH  an install tree again
    made from packages       Debian's bitcoin-knots, the Go modules of LND and Toxiproxy; CLN has none

What is on the engine already, by whichever way, is used before anything is pulled or made.
"""

import contextlib
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import requests
from docker.auth import resolve_repository_name
from docker.errors import APIError, ImageNotFound

import docker
from harness.engine import client
from harness.errors import TestbedError
from harness.image_recipes import HEARTBEAT_SECONDS, VERSIONS, Recipe, Report, cache_folder
from harness.install_tree import DAEMONS, PREFIX_VARIABLES, InstallTree

KINDS = ("bitcoind", "toxiproxy", "lnd", "cln")
"""The kinds of image that a testbed may need, those quickly made first."""
REGISTRY_SECONDS = 10
"""How long a registry may take to answer the engine before it counts as out of reach."""


class ImageUnavailableError(TestbedError):
    """There is no way to an image on this machine; the message says what was tried and how to get it."""


class RegistryError(Exception):
    """An image cannot be pulled; `unreachable` if the registry does not answer, rather than refuses."""

    def __init__(self, reason: str, *, unreachable: bool) -> None:
        super().__init__(reason)
        self.unreachable = unreachable


@dataclass(frozen=True)
class Official:
    """An image that a registry publishes under this name."""

    reference: str


def ways(kind: str) -> list[Official | Recipe]:
    """The ways to the image of this kind, best first. Raises InstallTreeError for a prefix without a tree."""
    if named := InstallTree.from_environment(kind):
        return [Recipe(kind, named)]
    found: list[Official | Recipe] = [Official(VERSIONS[f"{kind.upper()}_OFFICIAL"])]
    if tree := InstallTree.from_path(kind):
        found.append(Recipe(kind, tree))
    return found if kind == "cln" else [*found, Recipe(kind)]


def find(kind: str) -> str | None:
    """The image of this kind that is on the engine, if any. Makes nothing and asks no registry."""
    return _find(client(), kind)


def ensure(kinds: Iterable[str], report: Report) -> dict[str, str]:
    """Have the images of these kinds on the engine, pulled or made as needed: kind -> image reference.

    Raises ImageUnavailableError if there is no way to one of them; RecipeError or InstallTreeError if there
    is one but it fails.
    """
    wanted = list(dict.fromkeys(kinds))
    engine = client()
    if any(_find(engine, kind) is None for kind in wanted):
        with _one_process_at_a_time(report):
            missing = [kind for kind in wanted if _find(engine, kind) is None]
            recipes = _pull_what_can_be_pulled(engine, missing, report)
            for recipe in recipes:
                _make(engine, recipe, report)
    return {kind: reference for kind in wanted if (reference := _find(engine, kind))}


def ensure_reference(reference: str, report: Report) -> str:
    """Have the image that a topology names itself on the engine. Raises ImageUnavailableError."""
    engine = client()
    if not _present(engine, reference):
        try:
            _pull(engine, reference, report)
        except RegistryError as error:
            raise ImageUnavailableError(
                f"the image {reference} is not on the Docker engine and cannot be pulled ({error}); "
                "build it there, load it with `docker load`, or correct its name in the topology"
            ) from error
    return reference


def _find(engine: docker.DockerClient, kind: str) -> str | None:
    return next((way.reference for way in ways(kind) if _present(engine, way.reference)), None)


def _present(engine: docker.DockerClient, reference: str) -> bool:
    try:
        engine.images.get(reference)
    except ImageNotFound:
        return False
    return True


def _pull_what_can_be_pulled(engine: docker.DockerClient, kinds: list[str], report: Report) -> list[Recipe]:
    """Pull where that is the best way; returns what is left to make. All is settled before the long work."""
    silent_registries: dict[str, str] = {}
    return [
        recipe
        for kind in kinds
        if (recipe := _pull_or_recipe(engine, kind, silent_registries, report)) is not None
    ]


def _pull_or_recipe(
    engine: docker.DockerClient, kind: str, silent_registries: dict[str, str], report: Report
) -> Recipe | None:
    problems = []
    for way in ways(kind):
        if isinstance(way, Recipe):
            if (obstacle := _obstacle(engine, way)) is None:
                return way
            problems.append(obstacle)
            continue
        registry, _ = resolve_repository_name(way.reference)
        try:
            if registry in silent_registries:
                raise RegistryError(silent_registries[registry], unreachable=True)
            _pull(engine, way.reference, report)
            return None
        except RegistryError as error:
            if error.unreachable:
                silent_registries[registry] = str(error)
            report(f"{kind}: {way.reference} cannot be pulled: {error}")
            problems.append(f"{way.reference} cannot be pulled: {error}")
    raise ImageUnavailableError(_unavailable(kind, problems))


def _obstacle(engine: docker.DockerClient, recipe: Recipe) -> str | None:
    """Why this machine cannot make an image, as far as that shows at once."""
    base_is_there = recipe.base is None or _present(engine, recipe.base.reference)
    if base_is_there or (os.getuid() == 0 and shutil.which("apt-get")):
        return None
    return "it can be made on Debian and Ubuntu only, by root"


def _unavailable(kind: str, problems: list[str]) -> str:
    remedy = f"let the Docker engine reach the registry of {VERSIONS[f'{kind.upper()}_OFFICIAL']}"
    if kind in DAEMONS:
        version = VERSIONS[f"{kind.upper()}_OFFICIAL"].partition(":")[2]
        remedy += (
            f", put {DAEMONS[kind]} {version} on PATH, or name its install tree by {PREFIX_VARIABLES[kind]}"
        )
    return f"there is no image for {kind} ({'; '.join(problems)}); {remedy}"


def _make(engine: docker.DockerClient, recipe: Recipe, report: Report) -> None:
    """Make an image, and before it the one it builds upon."""
    if _present(engine, recipe.reference):
        return
    if recipe.base:
        _make(engine, recipe.base, report)
    started = time.monotonic()
    report(f"{recipe.kind}: making {recipe.reference} from {recipe.source}")
    recipe.make(engine, report)
    report(f"{recipe.kind}: made in {time.monotonic() - started:.1f} s")


def _pull(engine: docker.DockerClient, reference: str, report: Report) -> None:
    """Pull an image. Asks the registry first, under a time limit, because a pull itself has none."""
    try:
        client(REGISTRY_SECONDS).images.get_registry_data(reference)
    except APIError as error:
        raise RegistryError(str(error.explanation), unreachable=error.is_server_error()) from error
    except requests.RequestException as error:
        raise RegistryError(f"no answer within {REGISTRY_SECONDS} s", unreachable=True) from error

    started = time.monotonic()
    next_report = started + HEARTBEAT_SECONDS
    layers: dict[str, str] = {}
    report(f"pulling {reference}")
    for event in engine.api.pull(reference, stream=True, decode=True):
        if "error" in event:
            raise RegistryError(event["error"], unreachable=False)
        layers[event.get("id", "")] = event.get("status", "")
        if time.monotonic() >= next_report:
            next_report += HEARTBEAT_SECONDS
            done = sum(status in ("Pull complete", "Already exists") for status in layers.values())
            report(f"pulling {reference}: {done} of {len(layers)} layers")
    report(f"pulled {reference} in {time.monotonic() - started:.1f} s")


@contextlib.contextmanager
def _one_process_at_a_time(report: Report) -> Iterator[None]:
    with (cache_folder() / "images.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is making images; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """`make images`: every image that can be had here. A kind without any way is told, and is no error."""
    for kind in KINDS:
        try:
            print(f"{kind}: {ensure([kind], print)[kind]}")
        except ImageUnavailableError as error:
            print(f"{kind}: UNAVAILABLE: {error}")
        except TestbedError as error:
            print(f"make images: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
