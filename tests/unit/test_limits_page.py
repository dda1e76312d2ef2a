"""docs/limits.md names every limit, with the value that it has."""

import dataclasses
import importlib
import pkgutil
import re
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import asyncpay
from asyncpay.engine.policy import DialPolicy, LspPolicy, PayeePolicy, PayerPolicy

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
POLICIES: dict[str, type] = {
    f"{policy.__module__}.{policy.__name__}": policy for policy in (LspPolicy, PayerPolicy, PayeePolicy, DialPolicy)
}
NAMED_LIKE_A_LIMIT = re.compile(r"^_?(MAX|MOST)_[A-Z_]+ *(?:: *\w+ *)?=", re.MULTILINE)


def on_the_page() -> Iterator[tuple[str, str, Any]]:
    """Module or policy, name and default of each row."""
    module = ""
    for line in PAGE.read_text().splitlines():
        if heading := re.match(r"`(asyncpay[\w.]+)`:", line):
            module = heading[1]
        elif row := re.match(r"\| `(\w+)` \| ([^|]+) \|", line):
            yield module, row[1], literal_eval(row[2].strip())


def limits_of(module: str) -> dict[str, Any]:
    return dataclasses.asdict(POLICIES[module]()) if module in POLICIES else vars(importlib.import_module(module))


@pytest.mark.parametrize(("module", "name", "default"), list(on_the_page()))
def test_what_is_on_the_page_is_so(module: str, name: str, default: object) -> None:
    assert limits_of(module).get(name) == default


@pytest.mark.parametrize("policy", POLICIES)
def test_every_number_that_can_be_set_is_on_the_page(policy: str) -> None:
    rows = {name for where, name, _ in on_the_page() if where == policy}
    assert rows == limits_of(policy).keys()


def test_every_constant_named_like_a_limit_is_on_the_page() -> None:
    rows = {(module, name) for module, name, _ in on_the_page()}
    missing = [f"{module}.{name}" for module, name in constants() if (module, name) not in rows]
    assert missing == []
    assert len(list(constants())) > 20, "they are found"


def constants() -> Iterator[tuple[str, str]]:
    """Those that a module itself has, and not those that it imports."""
    for module in pkgutil.walk_packages(asyncpay.__path__, "asyncpay."):
        spec = module.module_finder.find_spec(module.name, None)
        if spec is None or spec.origin is None or "_pb2" in module.name:
            continue
        for found in NAMED_LIKE_A_LIMIT.finditer(Path(spec.origin).read_text()):
            yield module.name, found[0].rstrip("= ").partition(":")[0].strip()
