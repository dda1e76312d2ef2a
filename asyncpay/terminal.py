"""Output of text on a terminal. Much of it is untrusted: app names, URLs, descriptions, texts of peers and nodes.

A plain string is shown literally, without markup, and with its control characters replaced. Colours come from
`rich.text.Text` (see `styled`), never from markup within a string.
"""

import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_KEPT = "\n\t"
_REPLACED_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Control characters and escape sequences, bidirectional overrides and invisible characters, lone surrogates, and
line separators that only some terminals know."""


def literal(text: str) -> str:
    """Return the text with every character replaced that a terminal would interpret instead of showing it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        REPLACEMENT if char not in _KEPT and unicodedata.category(char) in _REPLACED_CATEGORIES else char
        for char in text
    )


def styled(*parts: str | tuple[str, str]) -> Text:
    """Return one text of strings and of (string, style) pairs: `styled(("error:", "red"), " ", problem)`."""
    return Text.assemble(*(literal(part) if isinstance(part, str) else (literal(part[0]), part[1]) for part in parts))


class SafeConsole(Console):
    """A console that shows plain strings literally, both printed and in the cells of a table."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """See Console.render_str. Rich turns every plain string into a Text here, including those in tables."""
        return super().render_str(literal(text), **(options | {"markup": False, "emoji": False}))
