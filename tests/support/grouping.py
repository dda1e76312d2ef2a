"""Run the tests that share a testbed in the same worker of pytest-xdist, so that it is brought up once.

Used with `--dist loadgroup --no-loadscope-reorder`: the longest groups start first. The groups of xdist itself, named
by a marker, are ignored under pytest 9.2 (pytest-dev/pytest-xdist#1386). So the workers, which alone know the fixtures,
write the groups into a file, and the scheduler reads it.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TESTBED = "testbed"
"""The shared fixture."""
TEST_SECONDS = 5
"""The duration of a usual test; a much longer test declares its duration with the marker `seconds`."""
LARGE_GROUP = 50
"""Groups with more tests than this are split by row; each row has its own testbed."""


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A scheduler that keeps a group's tests together. file: the output of `write`."""

    def __init__(self, config: pytest.Config, log: Any, file: Path) -> None:
        super().__init__(config, log)
        self._file = file
        self._groups: dict[str, str] = {}

    def _split_scope(self, nodeid: str) -> str:
        self._groups = self._groups or json.loads(self._file.read_text(encoding="utf-8"))
        return self._groups[nodeid]


def write(file: Path, groups: dict[pytest.Item, str]) -> None:
    """Write the groups for the scheduler; every worker of a run writes the same."""
    part = file.with_suffix(f".{id(groups)}.part")
    part.write_text(json.dumps({item.nodeid: name for item, name in groups.items()}), encoding="utf-8")
    part.replace(file)


def group(items: list[pytest.Item]) -> dict[pytest.Item, str]:
    """Return the name of each test's group, with the groups ordered by duration, the longest first."""
    testbeds = {item: testbed_of(item) for item in items}
    sizes = Counter(testbeds.values())
    groups = {item: name + _row(item) * (sizes[name] > LARGE_GROUP) for item, name in testbeds.items()}
    seconds: Counter[str] = Counter()
    for item, name in groups.items():
        seconds[name] += seconds_of(item)
    order = {name: number for number, name in enumerate(dict.fromkeys(groups.values()))}
    items.sort(key=lambda item: (-seconds[groups[item]], order[groups[item]]))
    return groups


def testbed_of(item: pytest.Item) -> str:
    """Return a name for the testbed of a test. Tests of a file with separate testbeds are one group."""
    definitions = _definitions(item)
    if TESTBED not in definitions:
        return item.location[0]
    needed = _needed_by(TESTBED, definitions)
    shared = [definitions[name] for name in sorted(needed) if definitions[name].scope == "package"]
    if shared:
        where = f"{shared[0].baseid} {shared[0].argname}"
    else:
        where = item.nodeid if definitions[TESTBED].scope == "function" else item.location[0]
    return "-".join([where, *_parameters(item, needed)])


def seconds_of(item: pytest.Item) -> int:
    """Return the approximate duration of a test."""
    marker = item.get_closest_marker("seconds")
    return TEST_SECONDS if marker is None else int(marker.args[0])


def _definitions(item: pytest.Item) -> dict[str, pytest.FixtureDef[object]]:
    """Return the fixtures of a test by name, as overridden for that test."""
    info = getattr(item, "_fixtureinfo", None)  # pytest has no public name for it
    return {} if info is None else {name: found[-1] for name, found in info.name2fixturedefs.items()}


def _needed_by(name: str, definitions: dict[str, pytest.FixtureDef[object]]) -> set[str]:
    """Return a fixture and all fixtures that it depends on."""
    needed, new = set[str](), {name}
    while new:
        needed |= new
        arguments = {other for each in new for other in definitions[each].argnames}
        new = (arguments & definitions.keys()) - needed
    return needed


def _parameters(item: pytest.Item, fixtures: Iterable[str]) -> list[str]:
    """Return the parameters of these fixtures in a test."""
    callspec = getattr(item, "callspec", None)
    given = {} if callspec is None else callspec.params
    return [str(given[name]) for name in sorted(fixtures) if name in given]


def _row(item: pytest.Item) -> str:
    """Return the part of a test's id before the `/` (tests/e2e/fault_injection/cells.py); empty if there is none."""
    row, slash, _ = item.name.partition("/")
    return f" {row}" if slash else ""
