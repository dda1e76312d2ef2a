"""The live page in a thread of this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from harness.ui.server import Server
from harness.ui.watcher import Watcher


@contextmanager
def served(watcher: Watcher) -> Iterator[str]:
    """The page's address, while it is served."""
    server = Server(watcher)
    thread = Thread(target=server.run)
    thread.start()
    try:
        yield server.address.url
    finally:
        server.end()
        thread.join()
