"""Queries of the event log of an LSP's component."""

from harness.services.lsp import Lsp
from harness.waits import Predicate

RESUMED = "resolve resume"


def resumed(lsp: Lsp) -> int:
    """Return the number of HTLCs that the component has resumed so far."""
    return sum(event["what"] == RESUMED for event in lsp.events())


def resumed_since(lsp: Lsp, before: int) -> Predicate:
    """The component has resumed more HTLCs than this."""
    return Predicate("resumed", lambda: None if resumed(lsp) > before else f"{lsp.name} has resumed {before} HTLCs")
