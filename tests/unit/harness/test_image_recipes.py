"""Making an image: when it counts as another one, and what a failing build script tells."""

import shutil

import pytest

from harness import image_recipes
from harness.image_recipes import Recipe, RecipeError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of docker/ to change, and a cache to write to."""
    copy = tmp_path / "docker"
    shutil.copytree(image_recipes.FOLDER, copy)
    monkeypatch.setattr(image_recipes, "FOLDER", copy)
    monkeypatch.setattr(image_recipes, "VERSIONS", dict(image_recipes.VERSIONS))
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    return copy


def append(file, text):
    file.write_text(file.read_text() + text)


def test_the_name_is_the_same_for_the_same_recipe(folder):
    assert Recipe("lnd").reference == Recipe("lnd").reference


@pytest.mark.parametrize("file", ["lnd/Dockerfile", "lnd/go.sum", "lnd/build.sh", "base/build.sh"])
def test_a_changed_recipe_or_base_gives_another_image(folder, file):
    before = Recipe("lnd").reference
    append(folder / file, "# changed\n")
    assert Recipe("lnd").reference != before


def test_a_changed_pin_gives_another_image_to_those_who_use_it(folder):
    lnd, toxiproxy = Recipe("lnd").reference, Recipe("toxiproxy").reference
    image_recipes.VERSIONS["DEBIAN_SUITE"] = "trixie"
    assert Recipe("lnd").reference != lnd
    assert Recipe("toxiproxy").reference == toxiproxy


def test_pins_are_read_without_comments(tmp_path):
    (tmp_path / "versions.env").write_text("# a remark\n\nLND_OFFICIAL=a/lnd:v1=x\n")
    assert image_recipes.read_versions(tmp_path / "versions.env") == {"LND_OFFICIAL": "a/lnd:v1=x"}


def test_a_failing_build_script_is_quoted_and_its_log_named(folder, tmp_path):
    (folder / "lnd/build.sh").write_text("#!/bin/sh\necho compiling\necho 'no space left on device' >&2\nexit 3\n")
    with pytest.raises(RecipeError) as error:
        Recipe("lnd").make(None, lambda line: None)
    log = tmp_path / "cache/logs/lnd.log"
    assert f"failed (exit 3, log: {log})" in str(error.value)
    assert "no space left on device" in str(error.value)
    assert log.read_text().startswith("compiling\n")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["logs"]  # no half-made context is left
