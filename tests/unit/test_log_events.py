"""The names of what components write into their logs: all of them are in one enum."""

import ast
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest

import asyncpay
from asyncpay.engine.lsp.interface import Delivery, WebhookRemoved, WebhookSet
from asyncpay.engine.lsp.records import Method
from asyncpay.engine.lsp.states import State as LspBlockState
from asyncpay.engine.payee.states import State as ClaimState
from asyncpay.engine.payer.states import State as PaymentState
from asyncpay.lightning import PaymentStatus, Resolution
from asyncpay.log_events import LogEvent
from asyncpay.wire.messages import BlockReply, BlockRequest, BlockState, BlockUpdate, CancelRequest, ReleaseReply

ROOT = Path(asyncpay.__path__[0])
NAMED_BY_A_VALUE: list[tuple[str, list[str]]] = [
    ("{}", [each.value for enum in (LspBlockState, PaymentState, ClaimState) for each in enum]),
    ("resolve {}", [each.value for each in Resolution]),
    ("payment {}", [each.value for each in PaymentStatus]),
    ("payment on behalf {}", [each.value for each in PaymentStatus]),
    ("tracked payment {}", [each.value for each in PaymentStatus]),
    ("notify {}", [each.value for each in Method]),
    ("stored message: {}", [each.value for each in Delivery]),
    ("the LSP says {}", [each.name for each in BlockState]),
    ("send {}", [each.__name__ for each in (BlockReply, BlockUpdate, ReleaseReply)]),
    ("sent {}", [each.__name__ for each in (BlockRequest, CancelRequest)]),
    ("{}", [each.__name__ for each in (WebhookSet, WebhookRemoved)]),
]


@pytest.mark.parametrize(("pattern", "values"), NAMED_BY_A_VALUE)
def test_every_value_that_a_name_ends_with_is_there(pattern: str, values: list[str]) -> None:
    assert values
    for value in values:
        LogEvent(pattern.format(value))  # ValueError


def calls(folder: str, *names: str) -> Iterator[tuple[str, ast.expr]]:
    """Where one of these is called, and its first argument."""
    for file in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
                owner = ast.unparse(node.func.value)
                if node.args and (folder == "engine" or owner.endswith("event_log")):
                    yield f"{file.relative_to(ROOT)}:{node.lineno}", node.args[0]


WRITERS = [("engine", ("log",), 20), ("service", ("write", "write_often", "error"), 40)]


@pytest.mark.parametrize(("folder", "methods", "least"), WRITERS)
def test_what_is_written_is_named_by_the_enum(folder: str, methods: tuple[str, ...], least: int) -> None:
    written = list(calls(folder, *methods))
    assert len(written) > least, "they are found"
    assert [place for place, event in written if isinstance(event, ast.Constant | ast.JoinedStr)] == []


def test_engines_compose_names_as_listed_above() -> None:
    named = [event for _, event in calls("engine", "log") if isinstance(event, ast.Call) and event.args]
    composed = [event.args[0] for event in named if isinstance(event.args[0], ast.JoinedStr)]
    patterns = {pattern.partition("{")[0] for pattern, _ in NAMED_BY_A_VALUE}
    assert composed, "they are found"
    assert [ast.unparse(each) for each in composed if ast.literal_eval(each.values[0]) not in patterns] == []


def test_no_name_is_there_twice() -> None:
    assert len({event.value for event in LogEvent}) == len(LogEvent.__members__)
    assert issubclass(LogEvent, Enum)
