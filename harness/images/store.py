"""The container images of the testbed: the official ones, or, if no registry answers, the same built on this machine.

For each kind of image there is a list of sources, the preferred one first:

    LND_PREFIX, CLN_PREFIX   an install tree that the user names; it is then the only source
    the official image       versions.env names and pins it
    lnd, lightningd on PATH  another install tree
    built from packages      if a package registry has them (made_from in image.toml)

An image that is on the engine already, from any source, is used before anything is pulled or built. The image of
asyncpay, the LSP's component, is always built, from this checkout; its base is official or built.
harness.service_images selects the images that a testbed needs, and those of phones.
"""

import contextlib
import fcntl
import os
import shutil
import sys
from collections.abc import Iterable, Iterator

import docker
import requests
from docker.auth import resolve_repository_name
from docker.errors import APIError, ImageNotFound

from asyncpay.terminal import SafeConsole
from harness.engines.docker_client import client
from harness.errors import ImageUnavailableError
from harness.images import durations
from harness.images.install_tree import InstallTree
from harness.images.kinds import facts, prefix_variable
from harness.images.recipes import VERSIONS, Official, Recipe
from harness.paths import cache_folder
from harness.progress import Heartbeat, Report, one_operation

ANSWER_SECONDS = 10
"""A registry that has not answered the engine after this time counts as unreachable."""


class RegistryError(Exception):
    """An image cannot be pulled; the message names it and gives the registry's or the engine's reason."""


class Registries:
    """Access to registries through the engine. A registry that times out is tried only once."""

    def __init__(self, engine: docker.DockerClient) -> None:
        self._engine = engine
        self._impatient = client(ANSWER_SECONDS)
        self._silent: dict[str, str] = {}

    def pull(self, reference: str, report: Report) -> None:
        """Pull an image, with progress. Raises RegistryError."""
        self._ask_for(reference)
        heartbeat = Heartbeat()
        layers: dict[str, str] = {}
        report(f"pulling {reference}")
        for event in self._engine.api.pull(reference, stream=True, decode=True):
            if "error" in event:
                raise RegistryError(f"{reference} cannot be pulled: {event['error']}")
            layers[event.get("id", "")] = event.get("status", "")
            if heartbeat.due():
                done = sum(status in ("Pull complete", "Already exists") for status in layers.values())
                report(f"pulling {reference}: {done} of {len(layers)} layers")
        report(f"pulled {reference} in {heartbeat.elapsed_seconds:.1f} s")

    def _ask_for(self, reference: str) -> None:
        """Make the engine query the image's manifest: unlike a pull, that supports a timeout."""
        registry, _ = resolve_repository_name(reference)
        if registry in self._silent:
            raise RegistryError(f"{reference} cannot be pulled: {self._silent[registry]}")
        try:
            self._impatient.images.get_registry_data(reference)
        except APIError as error:
            raise RegistryError(f"{reference} cannot be pulled: {error.explanation}") from error
        except requests.RequestException as error:
            self._silent[registry] = f"{registry} does not answer within {ANSWER_SECONDS} s"
            raise RegistryError(f"{reference} cannot be pulled: {self._silent[registry]}") from error


def ways(kind: str) -> list[Official | Recipe]:
    """Return the sources of an image of this kind, best first. Raises InstallTreeError for a prefix without a tree."""
    if kind == "asyncpay":
        return [Recipe(kind, official=Official(VERSIONS["PYTHON_OFFICIAL"])), Recipe(kind)]
    if named := InstallTree.from_environment(kind):
        return [Recipe(kind, named)]
    official = VERSIONS.get(f"{kind.upper()}_OFFICIAL")
    found: list[Official | Recipe] = [Official(official)] if official else []
    if tree := InstallTree.from_path(kind):
        found.append(Recipe(kind, tree))
    return [*found, Recipe(kind)] if facts(kind).made_from else found


def find(kind: str) -> str | None:
    """Return the image of this kind that is on the engine, if any. Builds nothing and queries no registry."""
    return _find(client(), kind)


def recipe_for(kind: str) -> Recipe | None:
    """Return the recipe by which this machine builds the image of this kind without a registry; None if it cannot."""
    engine = client()
    recipes = (way for way in ways(kind) if isinstance(way, Recipe))
    return next((recipe for recipe in recipes if _obstacle(engine, recipe) is None), None)


def remedy(kind: str) -> str:
    """Return advice for the user about an image that is not available."""
    official = VERSIONS.get("PYTHON_OFFICIAL" if kind == "asyncpay" else f"{kind.upper()}_OFFICIAL", "")
    advice = [f"let the Docker engine reach the registry of {official}"] if official else []
    if tree := facts(kind).install_tree:
        version = official.partition(":")[2]
        advice.append(f"put {tree.daemon} {version} on PATH, or name its install tree by {prefix_variable(kind)}")
    with_these = f", with {', '.join(needs)} on PATH" if (needs := facts(kind).needs) else ""
    return ", ".join(advice) or f"make it on Debian or Ubuntu as root{with_these}: `testbed images`"


def ensure(kinds: Iterable[str], report: Report) -> dict[str, str]:
    """Provide the images of these kinds on the engine, pulled or built as needed: kind -> image reference.

    Raises ImageUnavailableError if there is no source for one of them; RecipeError or InstallTreeError if there
    is one but it fails.
    """
    wanted = list(dict.fromkeys(kinds))
    engine = client()
    found = _those_there(engine, wanted)
    if len(found) < len(wanted):
        with _one_process_at_a_time(report):
            found = _those_there(engine, wanted)
            registries = Registries(engine)
            # The sources of all kinds are determined before the long builds begin.
            chosen = {kind: _settle(engine, registries, kind, report) for kind in wanted if kind not in found}
            for kind, way in chosen.items():
                if isinstance(way, Recipe):
                    _make(engine, way, report)
                found[kind] = way.reference
    return found


def ensure_made(recipe: Recipe, report: Report) -> str:
    """Provide the image of a recipe on the engine; its base must be there. Raises RecipeError, InstallTreeError."""
    engine = client()
    if not _present(engine, recipe.reference):
        with _one_process_at_a_time(report):
            _make(engine, recipe, report)
    return recipe.reference


def ensure_reference(reference: str, report: Report) -> str:
    """Provide an image that a topology names itself on the engine. Raises ImageUnavailableError."""
    engine = client()
    if not _present(engine, reference):
        try:
            Registries(engine).pull(reference, report)
        except RegistryError as error:
            raise ImageUnavailableError(
                f"the image is not on the Docker engine, and {error}; "
                "build it there, load it with `docker load`, or correct its name in the topology"
            ) from error
    return reference


def identity(reference: str) -> str:
    """Return the digest of an image on the engine, which identifies its content. Raises ImageUnavailableError."""
    try:
        return str(client().images.get(reference).id)
    except ImageNotFound:
        raise ImageUnavailableError(f"the image {reference} is no longer on the Docker engine. Run it again") from None


def _those_there(engine: docker.DockerClient, kinds: Iterable[str]) -> dict[str, str]:
    return {kind: reference for kind in kinds if (reference := _find(engine, kind))}


def _find(engine: docker.DockerClient, kind: str) -> str | None:
    return next((way.reference for way in ways(kind) if _present(engine, way.reference)), None)


def _present(engine: docker.DockerClient, reference: str) -> bool:
    try:
        engine.images.get(reference)
    except ImageNotFound:
        return False
    return True


def _settle(engine: docker.DockerClient, registries: Registries, kind: str, report: Report) -> Official | Recipe:
    """Return the best source that works. Its images are pulled from registries, nothing is built yet."""
    problems = []
    # Prefer a base that is on the engine to one in a registry: a change of our source must not cause registry queries.
    for way in sorted(ways(kind), key=lambda way: isinstance(way, Recipe) and not _base_is_there(engine, way)):
        official = way if isinstance(way, Official) else way.official
        try:
            if official and not _present(engine, official.reference):
                registries.pull(official.reference, report)
            if isinstance(way, Official) or (obstacle := _obstacle(engine, way)) is None:
                return way
            problems.append(obstacle)
        except RegistryError as error:
            report(f"{kind}: {error}")
            problems.append(str(error))
    raise ImageUnavailableError(f"there is no image for {kind} ({'; '.join(problems)}); {remedy(kind)}")


def _base_is_there(engine: docker.DockerClient, recipe: Recipe) -> bool:
    return recipe.base is None or _present(engine, recipe.base.reference)


def _obstacle(engine: docker.DockerClient, recipe: Recipe) -> str | None:
    """Return why this machine cannot build an image, as far as a quick check shows."""
    missing = [] if recipe.tree else [program for program in facts(recipe.kind).needs if not shutil.which(program)]
    if missing:
        return f"there is no {' and no '.join(missing)} on PATH"
    if _base_is_there(engine, recipe):
        return None
    if recipe.official:
        return f"{recipe.official.reference} is not there"
    if os.getuid() == 0 and shutil.which("apt-get"):
        return None
    return "it can be made on Debian and Ubuntu only, by root"


def _make(engine: docker.DockerClient, recipe: Recipe, report: Report) -> None:
    """Build an image, after its base."""
    if _present(engine, recipe.reference):
        return
    if isinstance(recipe.base, Recipe):
        _make(engine, recipe.base, report)
    heartbeat = Heartbeat()
    last_seconds = durations.last_seconds(recipe.name)
    estimate = "" if last_seconds is None else f"; the last time it took {last_seconds:.0f} s"
    report(f"{recipe.kind}: making {recipe.reference} from {recipe.source}{estimate}")
    with one_operation(SafeConsole(file=sys.stderr), recipe.kind, last_seconds, report) as step:
        recipe.make(engine, step)
    report(f"{recipe.kind}: made in {heartbeat.elapsed_seconds:.1f} s")
    durations.record(recipe.name, heartbeat.elapsed_seconds)


@contextlib.contextmanager
def _one_process_at_a_time(report: Report) -> Iterator[None]:
    with (cache_folder() / "images.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is making images; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
