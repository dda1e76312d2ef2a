"""The kinds of image: each is a folder of docker/ with a Dockerfile, its facts (image.toml) and pins (versions.env)."""

import functools
import tomllib

from pydantic import BaseModel, ConfigDict

from harness import paths

FOLDER = paths.DOCKER


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TreeFacts(_Strict):
    """The properties of a node's install tree; paths are relative to its prefix.

    daemon: the program whose location on PATH identifies the tree. needed: the files that a complete tree has.
    programs, helpers: patterns of the files to copy, in bin/ and in the prefix.
    """

    daemon: str
    needed: tuple[str, ...]
    programs: tuple[str, ...]
    helpers: tuple[str, ...] = ()


class ImageFacts(_Strict):
    """The properties of one kind of image.

    made_from: the source that it is built from on this machine, for messages; None if no package registry has it.
    needs: programs that the build requires.
    part_of_others: it is only a base of other images, no service runs in it.
    """

    made_from: str | None = None
    needs: tuple[str, ...] = ()
    part_of_others: bool = False
    install_tree: TreeFacts | None = None


@functools.cache
def facts(kind: str) -> ImageFacts:
    """The facts of a kind of image."""
    return ImageFacts.model_validate(tomllib.loads((FOLDER / kind / "image.toml").read_text(encoding="utf-8")))


@functools.cache
def kinds() -> tuple[str, ...]:
    """The kinds of image that a testbed may need; nodes last, because their builds take longest."""
    names = sorted(path.parent.name for path in FOLDER.glob("*/image.toml"))
    needed = [name for name in names if not facts(name).part_of_others]
    return tuple(sorted(needed, key=lambda name: facts(name).install_tree is not None))


def prefix_variable(kind: str) -> str:
    """The environment variable that names an install tree of this kind."""
    return f"{kind.upper()}_PREFIX"
