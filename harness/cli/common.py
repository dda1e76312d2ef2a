"""Shared parts of all `testbed` commands: selection of the testbed, output, error messages, completion of names.

A file of commands imports no other modules at its top: each command imports the modules that it needs when it is
called, so that it does not load the packages of another.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from asyncpay.amounts import AmountError
from asyncpay.terminal import SafeConsole, styled
from harness.errors import ImageUnavailableError, TestbedError

UNAVAILABLE_EXIT = 3
"""The exit code if this machine lacks something that the command needs, as opposed to a failure."""

out = SafeConsole()
err = SafeConsole(stderr=True)


def testbeds() -> list[str]:
    """The names of the testbeds on this machine, for completion."""
    from harness.folders import names

    return names()


def topologies() -> list[str]:
    """The names of the shipped topologies, for completion."""
    from harness.paths import TOPOLOGIES

    return sorted(path.stem for path in TOPOLOGIES.glob("*.yaml"))


def services(context: typer.Context) -> list[str]:
    """The services of the selected testbed, for completion."""
    return _of_testbed(context, "services")


def nodes(context: typer.Context) -> list[str]:
    """The nodes of the selected testbed, for completion."""
    return _of_testbed(context, "nodes")


def phones(context: typer.Context) -> list[str]:
    """The phones of the selected testbed, for completion."""
    return _of_testbed(context, "phones")


def lsps(context: typer.Context) -> list[str]:
    """The nodes of the selected testbed that have an LSP component, for completion."""
    return _of_testbed(context, "lsps")


def _of_testbed(context: typer.Context, kind: str) -> list[str]:
    """Return nothing if no testbed can be selected: completion reports no errors."""
    from harness import folders

    try:
        return folders.summary(folders.choose(context.params.get("which")))[kind]
    except TestbedError:
        return []


Which = Annotated[
    str | None,
    typer.Option(
        "--testbed",
        "-t",
        envvar="TESTBED",
        metavar="NAME",
        help="the testbed's name, if several are up",
        autocompletion=testbeds,
    ),
]
Node = Annotated[str, typer.Argument(help="the node's name", autocompletion=nodes)]
AsJson = Annotated[bool, typer.Option("--json", help="machine-readable, on standard output")]


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Guard a command: print an error for the user as a message without traceback, and exit with its exit code."""
    try:
        yield
    except ImageUnavailableError as error:
        err.print(styled(("UNAVAILABLE", "yellow"), f" {error}"), soft_wrap=True)
        raise typer.Exit(UNAVAILABLE_EXIT) from None
    except (TestbedError, AmountError) as error:
        err.print(styled(("error:", "red"), f" {error}"), soft_wrap=True)
        raise typer.Exit(2) from None
