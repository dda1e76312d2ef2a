"""Installed distributions work without the checkout: both of them, from wheels and by pip from the checkout."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from uv import find_uv_bin

pytestmark = pytest.mark.seconds(40)

CHECKOUT = Path(__file__).parents[3]
UNRELATED = "def test_something_else():\n    assert 1 + 1 == 2\n"
OWN = """
import pytest

@pytest.fixture(scope="session")
def testbed_topology():
    return "pair.yaml"

def test_on_a_testbed(testbed):
    assert testbed.pay("A", "B", 1_000_000).amount_msat == 1_000_000
"""
PAIR = """
nodes: {A: {role: router}, B: {role: router}}
channels: [{from: A, to: B, capacity_sat: 1_000_000, push_sat: 500_000}]
"""


class Environment:
    """A virtual environment, and a folder outside the checkout in which its programs run."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "env" / "bin"
        self.folder = folder / "elsewhere"
        self.folder.mkdir()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
        self.variables = inherited | {"VIRTUAL_ENV": str(folder / "env"), "TESTBED_STATE": str(folder / "state")}
        self._run([find_uv_bin(), "venv", "--quiet", "--python", sys.executable, str(folder / "env")])

    def run(self, program: str, *arguments: str) -> str:
        """Return the output of a program of the environment; it must succeed."""
        return self._run([str(self.bin / program), *arguments])

    def install(self, *packages: str) -> None:
        """Install by uv, which is quick."""
        self._run([find_uv_bin(), "pip", "install", "--quiet", *packages])

    def _run(self, command: Sequence[str]) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pytest(self, name: str, text: str) -> None:
        """Run one file of tests, which must pass."""
        (self.folder / name).write_text(text)
        assert "1 passed" in self.run("pytest", "-q", name)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels, built like in `make dist`: each from its sdist."""
    folder = tmp_path_factory.mktemp("dist")
    for source in (CHECKOUT, CHECKOUT / "harness"):
        command = [find_uv_bin(), "build", "--quiet", "--out-dir", str(folder), str(source)]
        done = subprocess.run(
            command, env=os.environ | {"ASYNCPAY_RELEASE": "1"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert len(list(folder.glob("*.tar.gz"))) == 2
    return {file.name.partition("-")[0]: file for file in folder.glob("*.whl")}


def test_wheels_name_nothing_of_this_machine(wheels: dict[str, Path]) -> None:
    assert wheels.keys() == {"asyncpay", "asyncpay_testbed"}
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as archive:
            (metadata,) = [archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA")]
        assert "file:" not in metadata
        assert str(CHECKOUT) not in metadata


def test_asyncpay_alone(wheels: dict[str, Path], environment: Environment) -> None:
    environment.install(str(wheels["asyncpay"]), "pytest")
    assert "lsp" in environment.run("asyncpay", "--help")
    environment.run("python", "-c", "import asyncpay.nodes.lnd.node, asyncpay.service.lsp.session")
    environment.pytest("test_unrelated.py", UNRELATED)
    site_packages = next(environment.bin.parent.glob("lib/python*/site-packages"))
    installed = {path.name.partition("-")[0] for path in site_packages.glob("*.dist-info")}
    assert {"asyncpay", "coincurve"} <= installed
    assert not {"asyncpay_testbed", "coincurve_cp314_fix", "docker", "pyln_client"} & installed
    assert not (site_packages / "harness").exists()


def test_the_plugin_of_core_lightning(wheels: dict[str, Path], environment: Environment) -> None:
    environment.install(f"{wheels['asyncpay']}[cln]")
    (plugin,) = environment.bin.parent.glob("lib/python*/site-packages/asyncpay/nodes/cln/plugin.py")
    assert os.access(plugin, os.X_OK)
    environment.run("python", "-c", "from asyncpay.nodes.cln import plugin; import asyncpay.wire.ecdh")


def test_the_testbed_beside_unrelated_tests(wheels: dict[str, Path], environment: Environment) -> None:
    environment.install(*map(str, wheels.values()))
    assert "up" in environment.run("testbed", "--help")
    assert environment.run("testbed", "--version") == "testbed 0.1.0\n"
    assert "/api/status" in environment.run("testbed", "ui", "--openapi"), "it has the files of its page, too"
    environment.pytest("test_unrelated.py", UNRELATED)
    topology = "from harness.topology import load; print(*load('line').nodes)"
    assert environment.run("python", "-c", topology).split() == ["A", "LSP_a", "router", "LSP_b", "B"]


@pytest.mark.full
def test_pip_from_the_checkout(environment: Environment) -> None:
    environment.install("pip")
    environment.run("pip", "install", "--quiet", str(CHECKOUT), "pytest")
    assert "lsp" in environment.run("asyncpay", "--help")
    environment.pytest("test_unrelated.py", UNRELATED)

    environment.run("pip", "install", "--quiet", f"{CHECKOUT}[testbed]")
    assert "up" in environment.run("testbed", "--help")
    environment.pytest("test_unrelated.py", UNRELATED)


@pytest.fixture
def testbed_from_wheels(wheels: dict[str, Path], environment: Environment) -> Iterator[Environment]:
    environment.install(*map(str, wheels.values()))
    yield environment
    environment.run("testbed", "down", "--all")


@pytest.mark.full
def test_a_testbed_from_wheels(testbed_from_wheels: Environment) -> None:
    """`testbed up line` and a user's own test, with images built from the installed files."""
    testbed_from_wheels.run("testbed", "up", "line")
    paid = testbed_from_wheels.run("testbed", "pay", "A", "B", "1000sat")
    assert "A paid B 1 000 sat" in " ".join(paid.split())
    testbed_from_wheels.run("testbed", "down", "line")
    (testbed_from_wheels.folder / "pair.yaml").write_text(PAIR)
    testbed_from_wheels.pytest("test_own.py", OWN)
