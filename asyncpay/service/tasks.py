"""The last resort: an error that nobody foresaw ends the message that met it, and never the component."""

from collections.abc import Awaitable, Callable

from asyncpay.service.journal import Journal


async def guarded(
    journal: Journal, what: str, work: Callable[[], Awaitable[None]], failed: Callable[[], None] = lambda: None
) -> None:
    """Do the work on one message or effect. Write an error of it to the log, call `failed`, and go on.

    Errors that have a meaning are handled where they arise. `work` is cancelled like any other task. It is called only
    here, so that a task that is cancelled before it runs leaves no coroutine that was never awaited.
    """
    try:
        await work()
    except Exception as error:
        journal.unexpected(what, error)
        failed()
