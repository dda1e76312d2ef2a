"""Tests that share a testbed go to one worker, and others do not wait for them."""

from collections import defaultdict

import pytest

from tests.support.grouping import group

pytest_plugins = ["pytester"]

CONFTEST = """
import pytest

@pytest.fixture(scope="package", params=["lnd", "cln"])
def testbed(request):
    return request.param
"""
OF_THE_PACKAGE = """
def test_one(testbed): ...
def test_two(testbed): ...
"""
BY_ANOTHER_NAME = """
import pytest

@pytest.fixture(scope="package", params=["lnd", "cln"])
def line(request): ...

@pytest.fixture(scope="module")
def testbed(line): ...

@pytest.mark.seconds(1_000)
def test_slow(testbed): ...
"""
OF_EACH_TEST = """
import pytest

@pytest.fixture
def testbed(): ...

def test_first(testbed): ...
def test_second(testbed): ...
"""
WITHOUT = """
def test_first(): ...
def test_second(): ...
"""
TABLE = """
import pytest

@pytest.fixture(scope="module", params=["lnd"])
def testbed(request): ...

@pytest.mark.parametrize("cell", [
    pytest.param(0, id=f"{row}/{column}", marks=[] if (row, column) in ((0, 0), (1, 1)) else [pytest.mark.full])
    for row in range(3) for column in range(20)
])
def test_cell(testbed, cell): ...
"""


def groups(pytester: pytest.Pytester, selection: bool = False, **files: str) -> dict[str, list[str]]:
    """The names of the tests in each group, in the order in which they are begun."""
    package = pytester.mkpydir("package")
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    pytester.makeini("[pytest]\nmarkers =\n    full\n    seconds")
    found_items, _ = pytester.inline_genitems()
    items = [item for item in found_items if not (selection and item.get_closest_marker("full"))]
    names = group(items)
    found: dict[str, list[str]] = defaultdict(list)
    for item in items:
        found[names[item]].append(item.name)
    return dict(found)


def test_tests_of_several_files_that_share_a_testbed(pytester: pytest.Pytester) -> None:
    found = groups(pytester, conftest=CONFTEST, test_a=OF_THE_PACKAGE, test_b=OF_THE_PACKAGE)
    assert sorted(found.values()) == [[f"test_{name}[{on}]" for name in ("one", "two")] * 2 for on in ("cln", "lnd")]


def test_a_testbed_that_a_file_has_under_another_name(pytester: pytest.Pytester) -> None:
    found = groups(pytester, conftest=CONFTEST, test_a=OF_THE_PACKAGE, test_b=BY_ANOTHER_NAME)
    assert list(found.values()) == [
        ["test_slow[lnd]"],
        ["test_slow[cln]"],
        ["test_one[lnd]", "test_two[lnd]"],
        ["test_one[cln]", "test_two[cln]"],
    ]


def test_testbeds_of_single_tests(pytester: pytest.Pytester) -> None:
    assert list(groups(pytester, test_a=OF_EACH_TEST).values()) == [["test_first"], ["test_second"]]


def test_tests_without_a_testbed_stay_together(pytester: pytest.Pytester) -> None:
    assert list(groups(pytester, test_a=WITHOUT).values()) == [["test_first", "test_second"]]


def test_the_rows_of_a_great_table(pytester: pytest.Pytester) -> None:
    rows = groups(pytester, test_a=TABLE)
    assert [len(row) for row in rows.values()] == [20, 20, 20]
    assert all(len({name.partition("/")[0] for name in row}) == 1 for row in rows.values())


def test_a_selection_of_a_great_table(pytester: pytest.Pytester) -> None:
    assert len(groups(pytester, selection=True, test_a=TABLE)) == 1
