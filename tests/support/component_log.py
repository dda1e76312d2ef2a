"""What the tests read in the log of an LSP's component."""

from harness.services.lsp import Lsp
from harness.waits import Predicate

RESUMED = "resolve resume"


def resumed(lsp: Lsp) -> int:
    """How many HTLCs the component has let pass so far."""
    return sum(event["what"] == RESUMED for event in lsp.events())


def resumed_since(lsp: Lsp, before: int) -> Predicate:
    """It has let one more HTLC pass than this."""
    return Predicate("resumed", lambda: None if resumed(lsp) > before else f"{lsp.name} has let {before} HTLCs pass")
