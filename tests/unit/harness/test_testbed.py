"""Testbeds found and removed by their folders: all that `up` refuses, `down` removes, and nothing else."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from harness import service_images, testbed
from harness.cli.main import app
from harness.errors import NodeError, PaymentError, TestbedError
from harness.folders import folder_of, names
from harness.inside.interface import PhoneState
from harness.testbed import Testbed
from harness.topology import load

runner = CliRunner()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESTBED_STATE", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture(autouse=True)
def removed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The projects that were removed from an engine that is not there."""
    projects: list[str] = []
    monkeypatch.setattr(testbed, "remove_project", lambda engine: projects.append(engine.project))
    monkeypatch.setattr(
        service_images,
        "ensure",
        lambda topology, _: dict.fromkeys(
            ["bitcoind", "push", "toxiproxy", "LSP_a-lsp", "LSP_b-lsp", *topology.nodes], "i"
        ),
    )
    monkeypatch.setattr(service_images, "beginnings", lambda *_: {})
    monkeypatch.setattr(service_images, "identities", lambda references: dict.fromkeys(references.values(), "sha256:1"))
    return projects


def sockets(folder: Path) -> None:
    (folder / "sockets" / "A").mkdir(parents=True)


def nothing(folder: Path) -> None:
    folder.mkdir()


def torn(folder: Path) -> None:
    sockets(folder)
    (folder / "compose.yaml.part").write_text("x-test")


def damaged(folder: Path) -> None:
    folder.mkdir()
    (folder / "compose.yaml").write_text("x-testbed: [")


def of_another_release(folder: Path) -> None:
    folder.mkdir()
    (folder / "compose.yaml").write_text("x-testbed: {topology: {name: line, seats: 4}}\n")


@pytest.mark.parametrize("left", [sockets, nothing, torn, damaged, of_another_release])
def test_what_up_refuses_down_removes(left, home: Path, removed: list[str]) -> None:  # type: ignore[no-untyped-def]
    left(home / "line")
    up = runner.invoke(app, ["up", "line"])
    assert up.exit_code == 2
    assert "a testbed named line is there already; remove it with `testbed down" in up.stderr
    status = runner.invoke(app, ["status", "-t", "line"])
    assert status.exit_code == 2
    assert "testbed line cannot be used" in status.stderr
    assert "`testbed down --testbed line`" in status.stderr
    assert "Traceback" not in status.output

    down = runner.invoke(app, ["down", "-t", "line"])

    assert down.exit_code == 0, down.stderr
    assert removed == ["testbed-line"]
    assert list(home.iterdir()) == []
    assert Testbed.prepare(load("line")).folder.is_dir()


def foreign_files(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")


def another_compose_project(folder: Path) -> None:
    folder.mkdir()
    (folder / "compose.yaml").write_text("services: {}\n")


@pytest.mark.parametrize("left", [foreign_files, another_compose_project])
def test_what_is_no_testbed_stays(left, home: Path, removed: list[str]) -> None:  # type: ignore[no-untyped-def]
    left(home / "line")
    assert names() == []
    for command in (["up", "line"], ["down", "-t", "line"]):
        result = runner.invoke(app, command)
        assert result.exit_code == 2
        assert "is not a testbed's folder" in result.stderr
    assert runner.invoke(app, ["down", "--all"]).exit_code == 0
    assert removed == []
    assert list((home / "line").iterdir()) != []


def test_a_place_that_cannot_be_written_to_is_told_before_images_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_STATE", "/proc/nowhere/state")
    monkeypatch.setattr(service_images, "ensure", lambda *_: pytest.fail("images are made"))
    result = runner.invoke(app, ["up", "line"])
    assert result.exit_code == 2
    assert "/proc/nowhere cannot be made" in result.stderr
    assert "Set TESTBED_STATE" in result.stderr


@pytest.mark.parametrize("name", ["../line", "a/b", "", "LINE"])
def test_a_name_cannot_lead_elsewhere(name: str, removed: list[str]) -> None:
    with pytest.raises(TestbedError):
        folder_of(name)
    assert runner.invoke(app, ["down", "-t", name]).exit_code == 2
    assert removed == []


def test_down_takes_a_name(home: Path, removed: list[str]) -> None:
    for name in ("one", "two"):
        Testbed.prepare(load("line"), name)
    assert runner.invoke(app, ["down", "one"]).exit_code == 0
    assert (removed, names()) == (["testbed-one"], ["two"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["phone", "LSP_a", "sleep"], "has no phone LSP_a (phones: A, B); LSP_a has the role lsp"),
        (["phone", "router", "sleep"], "router has the role router"),
        (["phone", "C", "sleep"], "has no phone C (phones: A, B)"),
        (["pay", "A", "C", "1sat"], "has no node C"),
        (["logs", "C"], "testbed line has no service C (services: bitcoind, "),
        (["exec", "C", "--", "getinfo"], "LSP_b-lsp, toxiproxy, push, A-wallet, B-wallet)"),
        (["kill", "C"], "testbed line has no service C (services: bitcoind, "),
    ],
)
def test_advice_can_be_followed(arguments: list[str], said: str) -> None:
    Testbed.prepare(load("line"))
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "--set" not in result.stderr


def test_a_payer_without_a_component_is_told_how_to_become_a_phone() -> None:
    plain = load("line")
    nodes = plain.nodes | {"A": plain.nodes["A"].model_copy(update={"component": None})}
    Testbed.prepare(plain.model_copy(update={"nodes": nodes}))
    said = runner.invoke(app, ["phone", "A", "sleep"]).stderr
    assert "A becomes one by `testbed up line --set A.component=asyncpay`" in said


class ScriptedNode:
    """A node whose one channel can be used or not."""

    def __init__(self, active: bool) -> None:
        self._active = active

    def channels(self) -> list[Any]:
        return [SimpleNamespace(active=self._active)]

    def create_invoice(self, amount_msat: int, description: str) -> str:
        return "lnbcrt1"

    def pay(self, invoice: str) -> None:
        raise PaymentError("A (LND) could not pay 1000 msat: FAILURE_REASON_INSUFFICIENT_BALANCE")


@pytest.fixture
def with_phone(monkeypatch: pytest.MonkeyPatch) -> Testbed:
    """A testbed in which the phone A is disconnected, and a payment of A fails."""
    made = Testbed.prepare(load("line"))
    made.nodes = cast(Any, {"A": ScriptedNode(active=False), "B": ScriptedNode(active=True)})
    phone = SimpleNamespace(state=lambda: PhoneState.AWAKE, link=lambda: SimpleNamespace(words="disconnected"))
    made.phones = cast(Any, {"A": phone})
    monkeypatch.setattr(Testbed, "running", lambda made: list(made.nodes.values()))
    return made


def test_a_payment_over_no_channel_tells_of_the_link(with_phone: Testbed) -> None:
    with pytest.raises(PaymentError, match=r"INSUFFICIENT_BALANCE; no channel of A is usable now \(.*disconnected\)$"):
        with_phone.pay("A", "B", 1000)


def test_a_payer_that_sleeps_is_told(with_phone: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Testbed, "running", lambda made: [made.nodes["B"]])
    with pytest.raises(NodeError, match=r"A cannot pay B: A does not run \(the phone is awake, .* disconnected\)"):
        with_phone.pay("A", "B", 1000)
