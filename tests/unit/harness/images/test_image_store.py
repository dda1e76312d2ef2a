"""Which image is used, in which order the ways to it are tried, and what is said when there is none."""

import os
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from harness import service_images
from harness.errors import ImageUnavailableError
from harness.images import durations, recipes, store
from harness.images.install_tree import InstallTree, InstallTreeError
from harness.images.kinds import kinds
from harness.images.recipes import VERSIONS, Official, Recipe
from harness.nodes.base import Node
from harness.nodes.cln import ClnNode
from harness.nodes.ldk import LdkNode
from harness.nodes.lnd import LndNode
from harness.progress import Report

from ..fake_docker import FakeEngine, FakeRegistries

OFFICIAL = {kind: VERSIONS[f"{kind.upper()}_OFFICIAL"] for kind in ("bitcoind", "toxiproxy", "lnd", "cln")}
PYTHON = Official(VERSIONS["PYTHON_OFFICIAL"])
BASE = Recipe("base").reference
CHECKOUT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    """An empty engine, on a machine without any node installed."""
    fake = FakeEngine()
    monkeypatch.setattr(store, "client", lambda: fake)
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(InstallTree, "from_path", classmethod(lambda cls, kind: None))
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    for variable in ("LND_PREFIX", "CLN_PREFIX"):
        monkeypatch.delenv(variable, raising=False)
    return fake


@pytest.fixture(autouse=True)
def registries(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> FakeRegistries:
    fake = FakeRegistries(engine)
    monkeypatch.setattr(store, "Registries", lambda _engine: fake)
    return fake


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that were made, in order."""
    references = []

    def make(recipe: Recipe, engine: FakeEngine, _report: Report) -> None:
        references.append(recipe.reference)
        engine.present.add(recipe.reference)

    monkeypatch.setattr(Recipe, "make", make)
    return references


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An install tree that has all that either implementation needs."""
    for name in ["bin/lnd", "bin/lncli", "bin/lightningd", "bin/lightning-cli", "libexec/c-lightning/pay"]:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    return tmp_path / "tree"


def locked(file: Path) -> dict[str, str]:
    """The packages that a lock file pins: name -> version."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", file.read_text(), re.MULTILINE))


def ensure_one(kind: str) -> str:
    return store.ensure([kind], lambda line: None)[kind]


def there(kind: str) -> str:
    found = store.find(kind)
    assert found is not None
    return found


def on_path(monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    found = classmethod(lambda cls, kind: InstallTree(kind, tree, f"{kind} on PATH"))
    monkeypatch.setattr(InstallTree, "from_path", found)


class TestChoice:
    @pytest.mark.parametrize("kind", ["lnd", "cln"])
    def test_a_named_prefix_comes_before_an_official_image_that_is_there(
        self, kind: str, engine: FakeEngine, made: list[str], tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine.present |= {OFFICIAL[kind], BASE}
        monkeypatch.setenv(f"{kind.upper()}_PREFIX", str(tree))
        assert store.find(kind) is None
        assert [ensure_one(kind)] == made
        assert store.find(kind) == made[0] != OFFICIAL[kind]

    def test_a_rebuilt_prefix_makes_a_new_image(
        self, engine: FakeEngine, made: list[str], tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine.present.add(BASE)
        monkeypatch.setenv("LND_PREFIX", str(tree))
        before = ensure_one("lnd")
        (tree / "bin/lnd").write_text("rebuilt")
        assert store.find("lnd") is None
        assert ensure_one("lnd") != before

    def test_an_official_image_comes_before_a_home_made_one(self, engine: FakeEngine) -> None:
        engine.present |= {OFFICIAL["lnd"], Recipe("lnd").reference}
        assert store.find("lnd") == OFFICIAL["lnd"]

    def test_what_is_there_is_neither_pulled_nor_made(
        self, engine: FakeEngine, registries: FakeRegistries, made: list[str]
    ) -> None:
        engine.present |= {OFFICIAL["bitcoind"], Recipe("lnd").reference}
        registries.published = set(OFFICIAL.values())
        found = store.ensure(["bitcoind", "lnd"], pytest.fail)
        assert found == {"bitcoind": OFFICIAL["bitcoind"], "lnd": Recipe("lnd").reference}
        assert not registries.asked
        assert not made

    def test_pulling_comes_before_making(
        self, registries: FakeRegistries, made: list[str], tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        on_path(monkeypatch, tree)
        registries.published = {OFFICIAL["lnd"]}
        assert ensure_one("lnd") == OFFICIAL["lnd"]
        assert not made

    def test_an_installed_daemon_comes_before_the_package_registries(
        self, engine: FakeEngine, made: list[str], tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine.present.add(BASE)
        on_path(monkeypatch, tree)
        assert ensure_one("lnd").startswith("async-testbed/lnd:tree-")

    def test_without_a_registry_images_are_made_upon_the_base(self, made: list[str]) -> None:
        found = store.ensure(["bitcoind", "toxiproxy", "lnd"], lambda line: None)
        assert made == [BASE, found["bitcoind"], found["toxiproxy"], found["lnd"]]
        assert not set(found.values()) & set(OFFICIAL.values())


class TestAsyncpay:
    """Its image is made everywhere: upon the official Python, or upon docker/base."""

    def test_upon_the_official_python_where_a_registry_answers(
        self, registries: FakeRegistries, made: list[str]
    ) -> None:
        registries.published = {PYTHON.reference}
        assert ensure_one("asyncpay") == Recipe("asyncpay", official=PYTHON).reference
        assert made == [Recipe("asyncpay", official=PYTHON).reference]

    def test_upon_the_base_elsewhere(self, made: list[str]) -> None:
        assert ensure_one("asyncpay") == Recipe("asyncpay").reference
        assert made == [BASE, Recipe("asyncpay").reference]

    def test_a_base_that_is_there_comes_before_one_to_be_pulled(
        self, engine: FakeEngine, registries: FakeRegistries
    ) -> None:
        engine.present.add(BASE)
        registries.published = {PYTHON.reference}
        assert ensure_one("asyncpay") == Recipe("asyncpay").reference
        assert not registries.asked

    def test_an_official_python_that_is_there_is_not_asked_for_again(
        self, engine: FakeEngine, registries: FakeRegistries
    ) -> None:
        engine.present.add(PYTHON.reference)
        assert ensure_one("asyncpay") == Recipe("asyncpay", official=PYTHON).reference
        assert not registries.asked

    def test_without_either_it_is_unavailable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "getuid", lambda: 1000)
        with pytest.raises(ImageUnavailableError, match=f"reach the registry of {PYTHON.reference}"):
            ensure_one("asyncpay")

    def test_the_name_that_is_told_is_the_one_that_was_made(
        self, made: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Even if somebody saves a source file right afterwards."""
        changes = iter("abcdefghijklmnopqrstuvwxyz")
        monkeypatch.setattr(Recipe, "_fingerprint", lambda recipe: recipe.kind + next(changes))
        assert ensure_one("asyncpay") == made[-1]


class TestNoWay:
    def test_core_lightning_s_message_says_how_to_get_it(self) -> None:
        with pytest.raises(ImageUnavailableError) as error:
            ensure_one("cln")
        message = str(error.value)
        assert f"{OFFICIAL['cln']} cannot be pulled: no such host" in message
        assert "put lightningd v26.06.6 on PATH" in message
        assert "CLN_PREFIX" in message

    def test_it_is_told_before_anything_is_made(self, made: list[str]) -> None:
        with pytest.raises(ImageUnavailableError):
            store.ensure(["lnd", "cln"], lambda line: None)
        assert not made

    def test_others_than_root_cannot_make_the_base(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "getuid", lambda: 1000)
        with pytest.raises(ImageUnavailableError, match="by root"):
            ensure_one("bitcoind")

    def test_but_they_can_build_upon_one_that_is_there(
        self, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "getuid", lambda: 1000)
        engine.present.add(BASE)
        assert ensure_one("lnd") == Recipe("lnd").reference

    def test_a_prefix_without_a_tree_is_the_user_s_mistake_and_not_an_absence(
        self, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine.present.add(OFFICIAL["cln"])
        monkeypatch.setenv("CLN_PREFIX", str(tmp_path))
        with pytest.raises(InstallTreeError, match="CLN_PREFIX"):
            ensure_one("cln")


class TestReference:
    def test_one_that_is_there_is_used(self, engine: FakeEngine, registries: FakeRegistries) -> None:
        engine.present.add("my/lsp:1")
        assert store.ensure_reference("my/lsp:1", pytest.fail) == "my/lsp:1"
        assert not registries.asked

    def test_one_that_is_published_is_pulled(self, engine: FakeEngine, registries: FakeRegistries) -> None:
        registries.published.add("my/lsp:1")
        store.ensure_reference("my/lsp:1", lambda line: None)
        assert "my/lsp:1" in engine.present

    def test_one_that_is_nowhere_is_unavailable(self) -> None:
        with pytest.raises(ImageUnavailableError, match=r"my/lsp:1 cannot be pulled: no such host; build it"):
            store.ensure_reference("my/lsp:1", lambda line: None)


class TestAll:
    """`make images`: afterwards a testbed has nothing left to make."""

    def test_the_images_of_phones_are_made_too(
        self, made: list[str], tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("CLN_PREFIX", str(tree))
        assert service_images.main() == 0
        nodes: list[tuple[type[Node], str]] = [(LndNode, "lnd"), (ClnNode, "cln"), (LdkNode, "ldk")]
        phones = [node.phone_recipe(there(kind), there("asyncpay")).reference for node, kind in nodes]
        assert made[-3:] == phones
        said = capsys.readouterr().out.splitlines()
        kinds = ("lnd", "cln", "ldk")
        assert {f"{kind} with asyncpay: {phone}" for kind, phone in zip(kinds, phones, strict=True)} <= set(said)

    def test_the_second_time_nothing_is_made(
        self, made: list[str], tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CLN_PREFIX", str(tree))
        service_images.main()
        made.clear()
        assert service_images.main() == 0
        assert not made

    def test_an_implementation_without_an_image_has_no_phone_and_is_no_failure(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert service_images.main() == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(line.startswith("cln: UNAVAILABLE: ") for line in lines)
        joined = [line.partition(":")[0] for line in lines if " with asyncpay: async" in line]
        assert joined == ["lnd with asyncpay", "ldk with asyncpay"]

    def test_without_cargo_there_is_no_ldk_and_that_is_no_failure(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(shutil, "which", lambda program: None if program == "cargo" else f"/usr/bin/{program}")
        assert service_images.main() == 0
        said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("ldk: "))
        assert said == (
            "ldk: UNAVAILABLE: there is no image for ldk (there is no cargo on PATH); "
            "make it on Debian or Ubuntu as root, with cargo on PATH: `testbed images`"
        )

    def test_a_failure_is_one_sentence_and_exit_code_1(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("LND_PREFIX", str(tmp_path))
        assert service_images.main() == 1
        assert capsys.readouterr().err.startswith("make images: LND_PREFIX")


class TestDurations:
    """An image that is built again states how long it took the last time."""

    def test_the_duration_is_kept_for_the_next_build(self, engine: FakeEngine, tmp_path: Path) -> None:
        first, again, other = list[str](), list[str](), list[str]()
        store.ensure(["toxiproxy"], first.append)
        assert first[-2].startswith("toxiproxy: making ")
        assert "the last time" not in first[-2]
        file = tmp_path / "cache" / "image-seconds.json"
        file.write_text(re.sub(r'(toxiproxy:2[^:]*": )[\d.]+', r"\g<1>70.4", file.read_text()))
        engine.present.clear()
        store.ensure(["toxiproxy"], again.append)
        assert again[-2].endswith("; the last time it took 70 s")
        store.ensure(["asyncpay"], other.append)
        assert "the last time" not in other[-2]

    def test_a_build_that_fails_leaves_the_duration_as_it_was(
        self, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        durations.record(Recipe("toxiproxy").name, 70)

        def fail(*_: object) -> None:
            raise recipes.RecipeError("no space")

        monkeypatch.setattr(Recipe, "make", fail)
        with pytest.raises(recipes.RecipeError):
            store.ensure(["toxiproxy"], lambda line: None)
        assert durations.last_seconds(Recipe("toxiproxy").name) == 70

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "[1]",
            "null",
            '{"x": ',
            '{"x": "1"}',
            '{"x": -1}',
            '{"x": NaN}',
            '{"x": true}',
            '{"x": 1e400}',
            "[" * 100_000,
        ],
    )
    def test_a_damaged_file_is_as_none(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "image-seconds.json").write_text(content)
        assert durations.last_seconds("x") is None
        durations.record("x", 5)
        assert durations.last_seconds("x") == 5


class TestPins:
    @pytest.mark.parametrize(
        ("kind", "module"),
        [("lnd", "github.com/lightningnetwork/lnd"), ("toxiproxy", "github.com/Shopify/toxiproxy/v2")],
    )
    def test_the_go_module_is_the_official_image_s_version(self, kind: str, module: str) -> None:
        version = OFFICIAL[kind].partition(":")[2].removeprefix("v")
        assert f"\t{module} v{version}" in (recipes.FOLDER / kind / "go.mod").read_text()
        assert VERSIONS[f"{kind.upper()}_HOMEMADE"].partition(":")[2].removeprefix("v") == version

    def test_asyncpay_s_image_has_the_packages_that_the_tests_run_with(self) -> None:
        of_the_image = locked(recipes.FOLDER / "asyncpay/requirements.lock")
        of_the_tests = locked(CHECKOUT / "requirements.lock")
        assert of_the_image.items() <= of_the_tests.items()
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
        wanted = {re.split("[<>=]", each)[0] for each in project["dependencies"]}
        assert wanted - of_the_image.keys() == {"coincurve"}
        assert "coincurve-cp314-fix" in of_the_image  # the same module: docker/asyncpay/overrides.txt

    def test_no_home_made_image_has_an_official_name(self) -> None:
        for kind in kinds():
            assert VERSIONS[f"{kind.upper()}_HOMEMADE"].startswith("async-testbed/")
