"""What is imported is declared, and the other way round. Which room may import which: .importlinter.toml."""

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = {"asyncpay": ROOT / "pyproject.toml", "harness": ROOT / "harness" / "pyproject.toml"}
BUILD_ONLY = {"hatch_build"}
OF_IMAGES = {"starlette", "uvicorn"}
"""What only harness/inside imports, from the image that it runs in: docker/asyncpay/requirements.in."""


def modules(package: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if "_pb2" not in name and name.rpartition(".")[2] not in BUILD_ONLY:
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def imports(module: ast.Module) -> Iterator[str]:
    """The full names of what a module imports, anywhere in it."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def declared(project: Path) -> set[str]:
    read = tomllib.loads(project.read_text())
    extras = read.get("tool", {}).get("hatch", {}).get("metadata", {}).get("hooks", {}).get("custom", {})
    lists = [read["project"]["dependencies"], *extras.get("extras", {}).values()]
    return {re.split(r"[\[<>=@ ]", each)[0].lower() for names in lists for each in names}


@functools.cache
def distributions(top: str) -> set[str]:
    """The names under which a top-level module may be declared."""
    return {each.lower().replace("_", "-") for each in (top, *packages_distributions().get(top, ()))}


def third_party(package: str) -> Iterator[tuple[str, str]]:
    for name, module in modules(package):
        for imported in imports(module):
            top = imported.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in PROJECTS:
                yield name, top


@pytest.mark.parametrize("package", PROJECTS)
def test_what_is_imported_is_declared(package: str) -> None:
    allowed = declared(PROJECTS[package])
    missing = {
        f"{name} imports {top}"
        for name, top in third_party(package)
        if not allowed & distributions(top) and not (name.startswith("harness.inside.") and top in OF_IMAGES)
    }
    assert missing == set()


@pytest.mark.parametrize("package", PROJECTS)
def test_what_is_declared_is_imported(package: str) -> None:
    used = {each for _, top in third_party(package) for each in distributions(top)}
    unused = declared(PROJECTS[package]) - used - {"asyncpay"}
    # protobuf: of the generated modules; bitstring: pins what pyln-proto needs
    assert unused <= {"protobuf", "bitstring"}


def test_tests_reach_containers_by_the_engine_alone() -> None:
    tests = [path for path in (ROOT / "tests" / "e2e").rglob("*.py") if "import docker" in path.read_text()]
    assert tests == []
