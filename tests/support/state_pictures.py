"""Parse a drawn table of states and triggers, for a test that compares it with the engine's own."""

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

S = TypeVar("S", bound=Enum)
T = TypeVar("T", bound=Enum)


def read(picture: str, states: type[S], triggers: type[T], letters: Mapping[str, S]) -> list[tuple[S, T, S | None]]:
    """Return every state with every trigger, and the next state; None if nothing changes.

    The first line names the columns, the triggers in order; each following line begins with the state's name. A
    letter names the next state, a dot means no change, and a bar is only a separator. Raises ValueError if the number
    of columns in a line is not that of the triggers, KeyError for an unknown letter or name.
    """
    return [
        (states[line.split()[0].upper()], trigger, None if letter == "." else letters[letter])
        for line in picture.strip().splitlines()[1:]
        for trigger, letter in zip(triggers, line.replace("|", "").split()[1:], strict=True)
    ]
