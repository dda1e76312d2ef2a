"""What both command lines do alike: read their file, show times, and say what went wrong."""

import re
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias, TypeVar

import typer
from rich.text import Text

from asyncpay.service.common import control_client
from asyncpay.service.common.control_client import NotRunningError, RefusedError
from asyncpay.terminal import SafeConsole, styled

if TYPE_CHECKING:
    from asyncpay.config import LspConfig, WalletConfig

C = TypeVar("C", "LspConfig", "WalletConfig")

Status: TypeAlias = Mapping[str, Any]
"""As the running component tells it (asyncpay.service.lsp.status, asyncpay.service.wallet.wallet_api)."""

out = SafeConsole()
err = SafeConsole(stderr=True)


def load(path: Path, kind: type[C]) -> C:
    """The configuration; exit code 2 if it cannot be used."""
    from asyncpay import config as configuration

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


def ask(
    config: Path,
    component: Literal["LSP", "wallet"],
    verb: str,
    progress: Callable[[Any], None] = lambda _: None,
    /,
    **arguments: Any,
) -> Any:
    """The running component's answer; exit code 1 if it refuses or is not there, 2 if the file cannot be used."""
    socket = _socket(config) or _checked_socket(config, component)
    try:
        return control_client.ask(socket, verb, progress, component, **arguments)
    except (NotRunningError, RefusedError) as error:
        fail(error, 1)


def _socket(config: Path) -> Path | None:
    """Where a component listens that has started with this file; None if none has, or the file says nothing of it.

    To check the whole file would take longer than the question, and the component has done it.
    """
    try:
        store = Path(tomllib.loads(config.read_text(encoding="utf-8"))["store"]["path"])
        socket = store.with_name(store.name + ".sock")
        return socket if socket.is_socket() else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _checked_socket(config: Path, component: str) -> Path:
    """The same from a file of which everything is right; otherwise exit code 2."""
    from asyncpay.config import LspConfig, WalletConfig

    checked = load(config, WalletConfig) if component == "wallet" else load(config, LspConfig)
    return checked.store.socket


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
