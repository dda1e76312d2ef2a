"""Showing text on a terminal. Much of it comes from others: app names, URLs, descriptions, words of peers and nodes.

A plain string is shown to the letter, without markup, and with its control characters replaced. Colours are given by
`rich.text.Text` (see `styled`), never by markup within a string.
"""

import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_KEPT = "\n\t"
_REPLACED_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Control characters and escape sequences, bidirectional overrides and what is invisible, half surrogate pairs, and
separators of lines that only some terminals know."""


def literal(text: str) -> str:
    """Return the text with everything replaced that a terminal would act upon instead of showing it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        REPLACEMENT if char not in _KEPT and unicodedata.category(char) in _REPLACED_CATEGORIES else char
        for char in text
    )


def styled(*parts: str | tuple[str, str]) -> Text:
    """Return text in which a pair is a string and its style: `styled(("error:", "red"), " ", problem)`."""
    return Text.assemble(*(literal(part) if isinstance(part, str) else (literal(part[0]), part[1]) for part in parts))


class SafeConsole(Console):
    """A console that shows plain strings to the letter, wherever they are: printed, or in the cells of a table."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """See Console.render_str. Rich turns every plain string into a Text here, those in tables too."""
        return super().render_str(literal(text), **(options | {"markup": False, "emoji": False}))
