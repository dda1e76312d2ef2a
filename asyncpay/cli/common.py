"""What both command lines do alike: read their file, show times, and say what went wrong."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

import typer
from rich.text import Text

from asyncpay import config as configuration
from asyncpay.config import LspConfig, WalletConfig
from asyncpay.service.common.control import NotRunningError, RefusedError
from asyncpay.terminal import SafeConsole, styled

C = TypeVar("C", LspConfig, WalletConfig)

Status: TypeAlias = Mapping[str, Any]
"""As the running component tells it (asyncpay.service.lsp.status, asyncpay.service.wallet.wallet_api)."""

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


def attached_since(node: Status) -> str:
    """Whether the node answers, and since when: errors from before that are of the start."""
    return f"since {show_time(node['attached_at'])}" if node["attached"] and node["attached_at"] else "no"


def error_name(error: Status) -> str:
    """One of the status's last errors: what happened, and to what."""
    details = [str(value) for name, value in error.items() if name not in ("time", "times", "what", "because")]
    return " ".join([error["what"], *details])


def log_line(line: Status) -> Text:
    """A line of the event log for people: when, what, and everything else that it says, in one line."""
    time_, what = line.get("time"), str(line.get("what", ""))
    because = line.get("because", line.get("error"))
    details = [f"{name} {_short(value)}" for name, value in line.items() if name not in _NAMED]
    at = show_time(time_) if isinstance(time_, (int, float)) else ""
    said = "; ".join(details)
    words = [f"  {said}" if said else "", "" if because is None else f"  because: {because}"]
    return styled((f"{at}  ", "dim"), (what, "bold"), *(word.replace("\n", " ").replace("\t", " ") for word in words))


_NAMED = frozenset({"time", "what", "because", "error"})


def _short(value: object) -> str:
    """Hashes and node ids by their first digits; the JSON has them whole."""
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    return f"{value[:8]}…" if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64,66}", value) else str(value)


def show_time(unix_seconds: float) -> str:
    """The local time of day; with the date, if that is not today's."""
    at, today = time.localtime(unix_seconds), time.localtime()
    return time.strftime("%H:%M:%S" if at[:3] == today[:3] else "%Y-%m-%d %H:%M:%S", at)
