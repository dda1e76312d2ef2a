"""What both command lines do alike: read their file, and say what went wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

import typer

from asyncpay import config as configuration
from asyncpay.config import LspConfig, WalletConfig
from asyncpay.service.control import NotRunningError, RefusedError
from asyncpay.terminal import SafeConsole, styled

C = TypeVar("C", LspConfig, WalletConfig)

out = SafeConsole()
err = SafeConsole(stderr=True)


def load(path: Path, kind: type[C]) -> C:
    """The configuration; exit code 2 if it cannot be used."""
    try:
        return configuration.load(path, kind)
    except configuration.ConfigError as error:
        fail(error, 2)


def fail(problem: object, code: int) -> NoReturn:
    """Say what is wrong, and end with this exit code."""
    show_error(problem)
    raise typer.Exit(code) from None


def show_error(problem: object) -> None:
    """Say what is wrong, on standard error."""
    err.print(styled(("error:", "red"), f" {problem}"), soft_wrap=True)


@contextmanager
def asking() -> Iterator[None]:
    """Around a question to the running component: exit code 1 if it refuses or is not there."""
    try:
        yield
    except (NotRunningError, RefusedError) as error:
        fail(error, 1)
