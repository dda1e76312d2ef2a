"""The pages that people read first: their links lead somewhere, and their commands exist and are run."""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PAGES = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md")])
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
TARGET = re.compile(r"^    make ([a-z0-9-]+)", re.MULTILINE)
README_LINES = 150


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {path}, which does not exist"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name} links to {path}#{anchor}, and there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_make_targets_exist(page: Path) -> None:
    assert set(TARGET.findall(page.read_text(encoding="utf-8"))) <= targets()


def test_every_make_target_in_the_readme_is_run_by_ci() -> None:
    """`make test` stands for its parts, which the workflows run by themselves."""
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z0-9-]+)`", readme)) | set(TARGET.findall(readme))
    runs = [*CHECKOUT.glob(".github/workflows/*.yml"), CHECKOUT / ".ci/run"]
    run = {target for file in runs for target in re.findall(r"make ([a-z0-9-]+)", file.read_text(encoding="utf-8"))}
    assert named
    assert named - run - {"help"} == set()


def test_every_path_in_the_recipes_exists() -> None:
    recipes = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:asyncpay|harness|docker|tests|docs)/[^`{ ]*)`", recipes)
    assert paths
    assert [path for path in paths if "X" not in path and not (CHECKOUT / path).exists()] == []


def test_readme_is_short() -> None:
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES
