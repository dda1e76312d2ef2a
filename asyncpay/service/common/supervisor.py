"""What a component tells systemd (sd_notify(3)): that it has started, that its event loop runs, and that it stops.

Nothing is sent unless the unit asks for it: `Type=notify` sets NOTIFY_SOCKET, `WatchdogSec=` sets WATCHDOG_USEC.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

MIN_WATCHDOG_SECONDS = 0.05
_MICROSECONDS = 1_000_000


@asynccontextmanager
async def supervised(environment: Mapping[str, str] = os.environ) -> AsyncIterator[None]:
    """Report the start, in this context the life of the event loop, and at its end the stop of the component."""
    notify(environment, "READY=1")
    interval = watchdog_seconds(environment)
    watchdog = None if interval is None else asyncio.create_task(_report_life(environment, interval))
    try:
        yield
    finally:
        if watchdog is not None:
            watchdog.cancel()
        notify(environment, "STOPPING=1")


def notify(environment: Mapping[str, str], state: str) -> None:
    """Send a state to systemd, without waiting and without errors: no decision depends on it."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(state.encode(), address)


def watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Return how often to report, which is half of the unit's limit; None if this process has no watchdog."""
    try:
        if int(environment.get("WATCHDOG_PID", os.getpid())) != os.getpid():
            return None  # the variables are inherited from another process
        limit = int(environment["WATCHDOG_USEC"]) / _MICROSECONDS
    except (KeyError, ValueError, OverflowError):
        return None
    return max(limit / 2, MIN_WATCHDOG_SECONDS) if limit > 0 else None


async def _report_life(environment: Mapping[str, str], interval_seconds: float) -> None:
    while True:
        notify(environment, "WATCHDOG=1")
        await asyncio.sleep(interval_seconds)
