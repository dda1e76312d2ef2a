"""Which tests go to the same worker of pytest-xdist: those that share a testbed, so that it is brought up once.

Used with `--dist loadgroup --no-loadscope-reorder`: the groups that take longest are begun first. The groups of xdist
itself, named by a marker, are ignored under pytest 9.2 (pytest-dev/pytest-xdist#1386). So the workers, which alone know
the fixtures, write the groups into a file, and the scheduler reads it.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TESTBED = "testbed"
"""The fixture that is shared."""
TEST_SECONDS = 5
"""What a usual test takes; one that takes much longer says so with the marker `seconds`."""
LARGE_GROUP = 50
"""Groups with more tests than this are parted into their rows, each of which has a testbed."""


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A scheduler that keeps a group's tests together. file: where `write` has put the groups."""

    def __init__(self, config: pytest.Config, log: Any, file: Path) -> None:
        super().__init__(config, log)
        self._file = file
        self._groups: dict[str, str] = {}

    def _split_scope(self, nodeid: str) -> str:
        self._groups = self._groups or json.loads(self._file.read_text(encoding="utf-8"))
        return self._groups[nodeid]


def write(file: Path, groups: dict[pytest.Item, str]) -> None:
    """Tell the scheduler the groups; every worker of a run tells the same."""
    part = file.with_suffix(f".{id(groups)}.part")
    part.write_text(json.dumps({item.nodeid: name for item, name in groups.items()}), encoding="utf-8")
    part.replace(file)


def group(items: list[pytest.Item]) -> dict[pytest.Item, str]:
    """Give each test the name of its group, and order the groups by how long they take, the longest first."""
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
    """A name for the testbed that a test runs on. Tests with testbeds of their own: those of a file belong together."""
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
    """About how long a test takes."""
    marker = item.get_closest_marker("seconds")
    return TEST_SECONDS if marker is None else int(marker.args[0])


def _definitions(item: pytest.Item) -> dict[str, pytest.FixtureDef[object]]:
    """The fixtures of a test by their names, each as the test sees it."""
    info = getattr(item, "_fixtureinfo", None)  # pytest has no public name for it
    return {} if info is None else {name: found[-1] for name, found in info.name2fixturedefs.items()}


def _needed_by(name: str, definitions: dict[str, pytest.FixtureDef[object]]) -> set[str]:
    """A fixture, and all that it is made from."""
    needed, new = set[str](), {name}
    while new:
        needed |= new
        arguments = {other for each in new for other in definitions[each].argnames}
        new = (arguments & definitions.keys()) - needed
    return needed


def _parameters(item: pytest.Item, fixtures: Iterable[str]) -> list[str]:
    """The parameters that a test gives these fixtures."""
    callspec = getattr(item, "callspec", None)
    given = {} if callspec is None else callspec.params
    return [str(given[name]) for name in sorted(fixtures) if name in given]


def _row(item: pytest.Item) -> str:
    """Of a test in a table, what comes before the `/` in its id (tests/e2e/fault_injection/cells.py); else nothing."""
    row, slash, _ = item.name.partition("/")
    return f" {row}" if slash else ""
