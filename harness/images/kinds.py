"""The kinds of image: each is a folder of docker/ with a Dockerfile, its facts (image.toml) and pins (versions.env)."""

import functools
import tomllib

from pydantic import BaseModel, ConfigDict

from harness import paths

FOLDER = paths.DOCKER


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TreeFacts(_Strict):
    """What an install tree of a node is like; places are relative to its prefix.

    daemon: the program whose place on PATH names the tree. needed: without these the tree is not whole.
    programs, helpers: patterns of what is taken, in bin/ and in the prefix.
    """

    daemon: str
    needed: tuple[str, ...]
    programs: tuple[str, ...]
    helpers: tuple[str, ...] = ()


class ImageFacts(_Strict):
    """What is special to one kind of image.

    made_from: what it is made from on this machine, for the user; None if no package registry has it.
    needs: programs without which it is not made from that.
    part_of_others: only other images build upon it, no service runs in it.
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
    """The kinds of image that a testbed may need; nodes last, for theirs take longest to make."""
    names = sorted(path.parent.name for path in FOLDER.glob("*/image.toml"))
    needed = [name for name in names if not facts(name).part_of_others]
    return tuple(sorted(needed, key=lambda name: facts(name).install_tree is not None))


def prefix_variable(kind: str) -> str:
    """The environment variable that names an install tree of this kind."""
    return f"{kind.upper()}_PREFIX"
