"""A table of states and triggers as people draw it, read for a test that compares it with the engine's own."""

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

S = TypeVar("S", bound=Enum)
T = TypeVar("T", bound=Enum)


def read(picture: str, states: type[S], triggers: type[T], letters: Mapping[str, S]) -> list[tuple[S, T, S | None]]:
    """Every state with every trigger, and the state that follows: None if nothing happens.

    The first line names the columns, the triggers in their order; each further line begins with the state's name. A
    letter names the state that follows, a dot says that nothing happens, and a bar only divides. ValueError if a line
    has more or fewer columns than there are triggers, KeyError if a letter or a name is none.
    """
    return [
        (states[line.split()[0].upper()], trigger, None if letter == "." else letters[letter])
        for line in picture.strip().splitlines()[1:]
        for trigger, letter in zip(triggers, line.replace("|", "").split()[1:], strict=True)
    ]
