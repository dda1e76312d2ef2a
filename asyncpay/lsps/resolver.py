"""Names to addresses, asked of the system in threads that clients share fairly.

The system's resolver cannot be called off: a name whose server never answers keeps a thread for half a minute. So what
counts for a client's share is the thread, whoever still waits for it.
"""

import asyncio
import socket
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from asyncpay.fair_semaphore import FairSemaphore, Slot

MAX_THREADS = 64
MAX_THREADS_OF_A_CLIENT = 4
MAX_WAITING_NAMES = 20
"""Of one client, that wait for a thread."""


class Resolver:
    """The system's resolver. To be closed in the end."""

    def __init__(self) -> None:
        # Not the event loop's own threads: names that take long to resolve must not delay anything else.
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="resolve")
        self._shares = FairSemaphore(each=MAX_THREADS_OF_A_CLIENT, waiting=MAX_WAITING_NAMES, at_once=MAX_THREADS)

    async def resolve(self, party: Hashable, host: str, port: int) -> list[str]:
        """Addresses as text, best first. OSError or UnicodeError if there are none; TooManyError."""
        loop = asyncio.get_running_loop()
        slot = self._shares.slot(party)
        await slot.__aenter__()
        try:
            asked = self._threads.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        except BaseException:
            slot.release()
            raise
        asked.add_done_callback(lambda _: _release(loop, slot))
        return [str(address[0]) for *_, address in await asyncio.wrap_future(asked)]

    def close(self) -> None:
        """Ask nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _release(loop: asyncio.AbstractEventLoop, slot: Slot) -> None:
    with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
        loop.call_soon_threadsafe(slot.release)
