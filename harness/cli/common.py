"""What all commands of `testbed` share: which testbed, how to print, and errors as sentences."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from asyncpay.amounts import AmountError
from asyncpay.terminal import SafeConsole, styled
from harness.errors import TestbedError
from harness.images.store import ImageUnavailableError

UNAVAILABLE_EXIT = 3
"""What was asked for cannot be run on this machine, as opposed to: it failed."""

out = SafeConsole()
err = SafeConsole(stderr=True)

Which = Annotated[
    str | None,
    typer.Option("--testbed", "-t", envvar="TESTBED", metavar="NAME", help="which testbed, if several are up"),
]
AsJson = Annotated[bool, typer.Option("--json", help="machine-readable, on standard output")]


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Around a command: an error that the user is meant to read is printed as such, and ends it with its exit code."""
    try:
        yield
    except ImageUnavailableError as error:
        err.print(styled(("UNAVAILABLE", "yellow"), f" {error}"), soft_wrap=True)
        raise typer.Exit(UNAVAILABLE_EXIT) from None
    except (TestbedError, AmountError) as error:
        err.print(styled(("error:", "red"), f" {error}"), soft_wrap=True)
        raise typer.Exit(2) from None
