"""Text of others on a terminal: shown to the letter, and never acted upon."""

import io
import time
from typing import Any

import pytest
from rich.table import Table

from asyncpay.cli import common, wallet
from asyncpay.cli.lsp import tables
from asyncpay.service.common import control_client
from asyncpay.terminal import SafeConsole, literal, styled
from harness.checks import status
from harness.cli import common as testbed_common
from harness.cli import push as push_commands
from harness.cli import tables as testbed_tables
from harness.errors import TestbedError
from harness.inside.interface import Push

HOSTILE = ["[/x]", "[/large]", "[bold]", "[link=https://evil.test]x[/link]", ":smile:", "a\\", "[red", "1234 None True"]
ESCAPES = "\x1b[2J\x1b]0;title\x07\x9b2J\u202e\u2028\r\x00\x7f\u200b\ud800"


def shown(*what: Any) -> str:
    console = SafeConsole(file=io.StringIO(), force_terminal=True, color_system=None, width=300)
    console.print(*what)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def table_of(*cells: Any) -> Table:
    table = Table(*map(str, range(len(cells))), box=None)
    table.add_row(*cells)
    return table


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", [lambda text: text, table_of, styled, lambda text: styled((text, "red"))])
def test_markup_is_shown_to_the_letter(text: str, place: Any) -> None:
    assert text in shown(place(text))


@pytest.mark.parametrize("place", [lambda text: text, table_of, styled, lambda text: styled((text, "red"))])
def test_nothing_that_a_terminal_acts_upon_gets_through(place: Any) -> None:
    seen = shown(place(ESCAPES))
    assert not set(ESCAPES) - set("[2J]0;title") & set(seen)


def test_what_people_write_stays() -> None:
    text = "café, Zürich, ₿ 5, 日本語, emoji \N{GRINNING FACE}\n\tnext"
    assert literal(text) == text


def lsp_status(text: str) -> dict[str, Any]:
    part = {"htlc": text, "short_channel_id": text, "amount_msat": 1, "age_seconds": 1.0}
    block = {"unblock_hash": "00", "client": "02", "state": text, "amount_msat": 1, "parts": [], "release_by_height": 1}
    block |= {"payment_hashes": ["00"]}
    return {
        "node": {"attached": True, "attached_at": 1.0, "network": text, "height_blocks": 1, "peers_online": []},
        "blocks": [block],
        "waiting_for_a_client": [part],
        "mailbox": {"02": {"messages": 1, "bytes": 1}},
        "webhooks": [{"client": "02" * 33, "app_name": text, "url": f"https://example.com/{text}"}],
        "last_errors": [{"time": 1.0, "times": 2, "what": f"https://{text}: no connection", "because": text}],
    }


@pytest.mark.parametrize("text", [*HOSTILE, ESCAPES])
def test_the_lsp_s_status(text: str) -> None:
    """A client's app_name was enough to turn `asyncpay lsp status` off for good."""
    seen = shown(*tables(lsp_status(text)))
    assert literal(text).splitlines()[0] in seen
    assert "\x1b]" not in seen


def test_the_lsp_s_status_tells_held_payments_by_their_hash_and_errors_of_the_start_from_later_ones() -> None:
    status = lsp_status("x")
    status["node"]["attached_at"] = time.mktime((2001, 2, 3, 4, 5, 6, 0, 0, -1))
    status["blocks"][0]["payment_hashes"] = ["ab" * 32, "cd" * 32]
    seen = shown(*tables(status))
    assert "since 2001-02-03 04:05:06" in seen
    assert "abababab" in seen
    assert "cdcdcdcd" in seen
    status["node"] |= {"attached": False, "attached_at": None}
    assert "since" not in shown(next(tables(status)))


class Answering:
    """In place of a running component: it gives this answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
        self.output = io.StringIO()
        console = SafeConsole(file=self.output, force_terminal=True, color_system=None, width=300)
        monkeypatch.setattr(common, "out", console)
        monkeypatch.setattr(common, "load", lambda *_: type("Config", (), {"store": type("S", (), {"socket": ""})}))
        monkeypatch.setattr(control_client, "ask", lambda *_, **__: answer)


@pytest.mark.parametrize("text", [*HOSTILE, ESCAPES])
def test_the_wallet_s_payments(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    payment = {"payment_hash": "00", "state": "settled", "cancelled": False, "ended_at": None, "amount_msat": 1}
    payment |= {"fee_msat": 0, "description": text, "created_at": time.time(), "outcome_unsure_until": None}
    running = Answering(monkeypatch, {"sent": [payment], "announced": []})
    wallet.payments()
    assert literal(text).splitlines()[0] in running.output.getvalue()
    assert "\x1b]" not in running.output.getvalue()


@pytest.mark.parametrize("text", [*HOSTILE, ESCAPES])
def test_the_wallet_s_webhooks_and_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    Answering(monkeypatch, {"app_names": [text]})
    wallet.webhooks()
    assert capsys.readouterr().out == literal(text) + "\n"
    common.show_error(text)
    assert literal(text).split("\n")[0] in capsys.readouterr().err.replace("\n", "")


@pytest.mark.parametrize("text", [*HOSTILE, ESCAPES])
def test_the_testbed_s_tables(capsys: pytest.CaptureFixture[str], text: str) -> None:
    push = Push(phone=text, time=1.0, method=text, refused=text, delivered=None, attempts=0, body="")
    seen = shown(push_commands._table([push]))
    assert literal(text).splitlines()[0] in seen
    node = status.NodeStatus(text, "payer", "lnd", "running", problem=text)
    look = status.Status("line", "line", 1, True, [node], [], [], [])
    assert literal(text).splitlines()[0] in shown(testbed_tables.nodes_table(look))
    with pytest.raises(BaseException), testbed_common.errors_as_sentences():  # noqa: B017, PT011 - typer's Exit
        raise TestbedError(text)
    assert "\x1b]" not in capsys.readouterr().err
