"""Making an image: when it counts as another one, and what a failing build script tells."""

import shutil
from pathlib import Path
from typing import cast

import docker
import pytest

from harness.errors import TestbedError
from harness.images import recipes
from harness.images.recipes import Official, Recipe, RecipeError

NO_ENGINE = cast(docker.DockerClient, None)
"""For builds that end before they need one."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of docker/ to change, and a cache to write to."""
    copy = tmp_path / "docker"
    shutil.copytree(recipes.FOLDER, copy)
    monkeypatch.setattr(recipes, "FOLDER", copy)
    monkeypatch.setattr(recipes, "VERSIONS", dict(recipes.VERSIONS))
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    return copy


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of asyncpay's source to change."""
    copy = tmp_path / "asyncpay"
    shutil.copytree(recipes._PACKAGES["asyncpay"]["asyncpay"], copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setitem(recipes._PACKAGES, "asyncpay", {"asyncpay": copy})
    return copy


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def test_the_name_is_the_same_for_the_same_recipe(folder: Path) -> None:
    assert Recipe("lnd").reference == Recipe("lnd").reference


@pytest.mark.parametrize("file", ["lnd/Dockerfile", "lnd/go.sum", "lnd/build.sh", "base/build.sh"])
def test_a_changed_recipe_or_base_gives_another_image(folder: Path, file: str) -> None:
    before = Recipe("lnd").reference
    append(folder / file, "# changed\n")
    assert Recipe("lnd").reference != before


def test_a_changed_pin_gives_another_image_to_those_who_use_it(folder: Path) -> None:
    lnd, toxiproxy = Recipe("lnd").reference, Recipe("toxiproxy").reference
    recipes.VERSIONS["DEBIAN_SUITE"] = "trixie"
    assert Recipe("lnd").reference != lnd
    assert Recipe("toxiproxy").reference == toxiproxy


@pytest.mark.parametrize("file", ["wire/tlv.py", "store/migrations/lsp/0001.sql", "nodes/proto/router_pb2.py"])
def test_changed_source_gives_another_image_of_asyncpay(package: Path, file: str) -> None:
    before = Recipe("asyncpay").reference
    append(package / file, "\n")
    assert Recipe("asyncpay").reference != before


def test_a_renamed_file_of_source_does_too(package: Path) -> None:
    before = Recipe("asyncpay").reference
    (package / "wire/tlv.py").rename(package / "wire/streams.py")
    assert Recipe("asyncpay").reference != before


def test_what_python_compiles_does_not(package: Path) -> None:
    before = Recipe("asyncpay").reference
    (package / "wire/__pycache__").mkdir()
    (package / "wire/__pycache__/tlv.cpython-314.pyc").write_bytes(b"\x00")
    assert Recipe("asyncpay").reference == before


def test_changed_dependencies_give_another_image_of_asyncpay(folder: Path) -> None:
    before = Recipe("asyncpay").reference
    append(folder / "asyncpay/requirements.lock", "# changed\n")
    assert Recipe("asyncpay").reference != before


def test_the_same_source_upon_another_base_is_another_image() -> None:
    assert Recipe("asyncpay").reference != Recipe("asyncpay", official=Official("python:3")).reference


def test_the_build_script_knows_the_base(folder: Path, tmp_path: Path) -> None:
    (folder / "asyncpay/build.sh").write_text('#!/bin/sh\necho "upon $BASE"\nexit 1\n')
    with pytest.raises(RecipeError, match="upon python:3"):
        Recipe("asyncpay", official=Official("python:3")).make(NO_ENGINE, lambda line: None)


def test_the_build_script_has_a_home(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/proc/nohome")
    (folder / "lnd/build.sh").write_text('touch "$HOME/cache" && echo "home is $HOME, uv is $UV"; exit 1\n')
    with pytest.raises(RecipeError, match=f"home is {tmp_path}/cache/home, uv is /.*/uv"):
        Recipe("lnd").make(NO_ENGINE, lambda line: None)


def test_a_cache_that_cannot_be_written_is_a_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_CACHE", "/proc/nowhere")
    with pytest.raises(TestbedError, match=r"/proc/nowhere cannot be made: .*Set TESTBED_CACHE"):
        Recipe("lnd").make(NO_ENGINE, lambda line: None)


def test_source_that_changes_while_it_is_gathered_makes_no_image(folder: Path, package: Path) -> None:
    recipe = Recipe("asyncpay")
    assert recipe.reference
    (folder / "asyncpay/build.sh").write_text("#!/bin/sh\n")
    with pytest.raises(RecipeError, match="its sources changed during the build"):
        recipe.make(NO_ENGINE, lambda line: None)


def test_pins_are_read_without_comments(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/versions.env").write_text("X_OFFICIAL=x:1\n")
    (tmp_path / "versions.env").write_text("# a remark\n\nLND_OFFICIAL=a/lnd:v1=x\n")
    assert recipes.read_versions(tmp_path) == {"LND_OFFICIAL": "a/lnd:v1=x", "X_OFFICIAL": "x:1"}


def test_a_failing_build_script_is_quoted_and_its_log_named(folder: Path, tmp_path: Path) -> None:
    (folder / "lnd/build.sh").write_text("#!/bin/sh\necho compiling\necho 'no space left on device' >&2\nexit 3\n")
    with pytest.raises(RecipeError) as error:
        Recipe("lnd").make(NO_ENGINE, lambda line: None)
    log = tmp_path / "cache/logs/lnd.log"
    assert f"failed (exit 3, log: {log})" in str(error.value)
    assert "no space left on device" in str(error.value)
    assert log.read_text().startswith("compiling\n")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["logs"]  # no half-made context is left
