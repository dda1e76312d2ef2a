"""Functions of both command lines: read the configuration, format times, and report errors."""

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
"""The status from the running component (asyncpay.service.lsp.status, asyncpay.service.wallet.wallet_api)."""

out = SafeConsole()
err = SafeConsole(stderr=True)


def load(path: Path, kind: type[C]) -> C:
    """Return the configuration; exit with code 2 if it is invalid."""
    from asyncpay import config as configuration

    try:
        return configuration.load(path, kind)
    except configuration.ConfigError as error:
        fail(error, 2)


def fail(problem: object, code: int) -> NoReturn:
    """Print the error, and exit with this code."""
    show_error(problem)
    raise typer.Exit(code) from None


def show_error(problem: object) -> None:
    """Print an error on standard error."""
    err.print(styled(("error:", "red"), f" {problem}"), soft_wrap=True)


def ask(
    config: Path,
    component: Literal["LSP", "wallet"],
    verb: str,
    progress: Callable[[Any], None] = lambda _: None,
    /,
    **arguments: Any,
) -> Any:
    """Return the running component's answer; exit code 1 if it refuses or is not running, 2 if the file is invalid."""
    socket = _socket(config) or _checked_socket(config, component)
    try:
        return control_client.ask(socket, verb, progress, component, **arguments)
    except (NotRunningError, RefusedError) as error:
        fail(error, 1)


def _socket(config: Path) -> Path | None:
    """Return the control socket of a component that runs with this file; None if there is none, or the file names none.

    The file is not checked: that would take longer than the request, and the component has already checked it.
    """
    try:
        store = Path(tomllib.loads(config.read_text(encoding="utf-8"))["store"]["path"])
        socket = store.with_name(store.name + ".sock")
        return socket if socket.is_socket() else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _checked_socket(config: Path, component: str) -> Path:
    """Return the control socket from a checked file; exit with code 2 if the file is invalid."""
    from asyncpay.config import LspConfig, WalletConfig

    checked = load(config, WalletConfig) if component == "wallet" else load(config, LspConfig)
    return checked.store.socket


def attached_since(node: Status) -> str:
    """Return whether the node is attached, and since when: earlier errors belong to the start."""
    return f"since {show_time(node['attached_at'])}" if node["attached"] and node["attached_at"] else "no"


def error_name(error: Status) -> str:
    """Return the name of an error in the status, with its subject."""
    details = [str(value) for name, value in error.items() if name not in ("time", "times", "what", "because")]
    return " ".join([error["what"], *details])


def log_line(line: Status) -> Text:
    """Format a line of the event log for users: time, event, and all details, in one line."""
    time_, what = line.get("time"), str(line.get("what", ""))
    because = line.get("because", line.get("error"))
    details = [f"{name} {_short(value)}" for name, value in line.items() if name not in _NAMED]
    at = show_time(time_) if isinstance(time_, (int, float)) else ""
    said = "; ".join(details)
    words = [f"  {said}" if said else "", "" if because is None else f"  because: {because}"]
    return styled((f"{at}  ", "dim"), (what, "bold"), *(word.replace("\n", " ").replace("\t", " ") for word in words))


_NAMED = frozenset({"time", "what", "because", "error"})


def _short(value: object) -> str:
    """Shorten hashes and node ids to their first digits; the JSON output has them in full."""
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    return f"{value[:8]}…" if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64,66}", value) else str(value)


def show_time(unix_seconds: float) -> str:
    """Format the local time of day, with the date if it is not today's."""
    at, today = time.localtime(unix_seconds), time.localtime()
    return time.strftime("%H:%M:%S" if at[:3] == today[:3] else "%Y-%m-%d %H:%M:%S", at)
