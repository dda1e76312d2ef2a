"""What the status shows of what went wrong: each kind once, with its last time."""

import io

from asyncpay.service.journal import LAST_ERRORS, Journal


def test_what_repeats_itself_is_kept_once_with_its_last_time_and_number() -> None:
    journal = Journal(io.StringIO())
    journal.error("the node is away", "it does not answer")
    first = journal.errors[0]["time"]
    journal.error("release not sent", "the node is not synced")
    for _ in range(LAST_ERRORS):
        journal.error("the node is away", "it does not answer")
    assert [(each["what"], each["times"]) for each in journal.errors] == [
        ("release not sent", 1),
        ("the node is away", LAST_ERRORS + 1),
    ]
    assert float(str(journal.errors[-1]["time"])) >= float(str(first))


def test_every_line_is_written_all_the_same() -> None:
    stream = io.StringIO()
    journal = Journal(stream)
    for _ in range(3):
        journal.error("the node is away", "it does not answer")
    assert len(stream.getvalue().splitlines()) == 3
