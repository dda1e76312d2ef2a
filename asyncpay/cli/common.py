"""What both command lines do alike: read their file, and say what went wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from asyncpay import config as configuration
from asyncpay.config import LspConfig, WalletConfig
from asyncpay.service.control import NotRunningError, RefusedError

C = TypeVar("C", LspConfig, WalletConfig)

out = Console()
err = Console(stderr=True)


def load(path: Path, kind: type[C]) -> C:
    """The configuration; exit code 2 if it cannot be used."""
    try:
        return configuration.load(path, kind)
    except configuration.ConfigError as error:
        fail(error, 2)


def fail(problem: object, code: int) -> NoReturn:
    """Say what is wrong, and end with this exit code."""
    err.print(f"[red]error:[/] {escape(str(problem))}", highlight=False, soft_wrap=True)
    raise typer.Exit(code) from None


@contextmanager
def asking() -> Iterator[None]:
    """Around a question to the running component: exit code 1 if it refuses or is not there."""
    try:
        yield
    except (NotRunningError, RefusedError) as error:
        fail(error, 1)
