"""The LSP's status for people: what `asyncpay lsp status` prints."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.table import Table

Status = Mapping[str, Any]
"""As asyncpay.service.status makes it; named here, for that needs the whole engine, and this prints an answer."""

SHOWN_DIGITS = 8
"""Of a hash or a node id; `--json` has them whole."""


def tables(status: Status) -> Iterator[Table]:
    """One table a subject; empty subjects are left out."""
    node = status["node"]
    yield _table(
        "node",
        ["attached", "network", "block", "peers online"],
        [[attached_since(node), node["network"], str(node["height_blocks"]), str(len(node["peers_online"]))]],
    )
    blocks = [
        [
            block["unblock_hash"][:SHOWN_DIGITS],
            "\n".join(payment_hash[:SHOWN_DIGITS] for payment_hash in block["payment_hashes"]),
            block["client"][:SHOWN_DIGITS],
            block["stage"],
            f"{block['amount_msat']} msat",
            f"{len(block['parts'])}, oldest {max((part['age_seconds'] for part in block['parts']), default=0):.0f} s",
            f"block {block['release_by_height']}",
        ]
        for block in status["blocks"]
    ]
    if blocks:
        yield _table(
            "held payments",
            ["unblock hash", "payment hash", "client", "stage", "amount", "parts", "release by"],
            blocks,
        )
    if waiting := status["waiting_for_a_client"]:
        rows = [
            [
                part["short_channel_id"] or "closed",
                part["htlc"].rpartition("/")[2],
                f"{part['amount_msat']} msat",
                f"{part['age_seconds']:.0f} s",
            ]
            for part in waiting
        ]
        yield _table("HTLCs that wait for an offline client", ["channel", "HTLC", "amount", "age"], rows)
    if mailbox := status["mailbox"]:
        rows = [[client[:SHOWN_DIGITS], str(box_["messages"]), str(box_["bytes"])] for client, box_ in mailbox.items()]
        yield _table("mailbox", ["client", "messages", "bytes"], rows)
    if hooks := status["webhooks"]:
        yield _table(
            "webhooks", ["client", "app", "url"], [[h["client"][:SHOWN_DIGITS], h["app_name"], h["url"]] for h in hooks]
        )
    if errors := status["last_errors"]:
        rows = [[show_time(e["time"]), str(e["times"]), e["what"], e["because"]] for e in errors]
        yield _table("last errors", ["last at", "times", "what", "because"], rows)


def attached_since(node: Status) -> str:
    """Whether the node answers, and since when: errors from before that are of the start."""
    return f"since {show_time(node['attached_at'])}" if node["attached"] and node["attached_at"] else "no"


def show_time(unix_seconds: float) -> str:
    """The local time of day; with the date, if that is not today's."""
    at, today = time.localtime(unix_seconds), time.localtime()
    return time.strftime("%H:%M:%S" if at[:3] == today[:3] else "%Y-%m-%d %H:%M:%S", at)


def _table(title: str, headings: list[str], rows: list[list[str]]) -> Table:
    table = Table(*headings, title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    return table
