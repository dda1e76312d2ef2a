"""Which nodes' volumes begin with files that were made before."""

import pytest

from harness import service_images
from harness.errors import ImageUnavailableError
from harness.images import store
from harness.topology import load


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ensure", lambda kinds, _: {kind: f"image of {kind}" for kind in kinds})


def beginnings(topology: str = "line", **settings: str) -> dict[str, dict[str, str]]:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return service_images.beginnings(load(topology, named), lambda _: None)


@pytest.mark.usefixtures("made")
def test_each_lnd_has_a_wallet_of_its_own() -> None:
    assert beginnings() == {"image of lndwallets": {"A": "0", "LSP_a": "1", "router": "2", "LSP_b": "3", "B": "4"}}
    assert beginnings(router="cln", A="ldk") == {"image of lndwallets": {"LSP_a": "0", "LSP_b": "1", "B": "2"}}
    assert beginnings("line-cln") == {}


@pytest.mark.usefixtures("made")
def test_a_node_of_another_version_makes_its_own() -> None:
    """Its files may be of another format."""
    (of_nodes,) = beginnings(router__image="my/lnd", LSP_a__version="v0.19.0-beta", A__component="my/phone").values()
    assert list(of_nodes) == ["LSP_b", "B"]


def test_where_there_is_no_image_nodes_make_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> dict[str, str]:
        raise ImageUnavailableError("there is no Go")

    monkeypatch.setattr(store, "ensure", fail)
    said: list[str] = []
    assert service_images.beginnings(load("line"), said.append) == {}
    assert said == ["lndwallets: there is no Go; the nodes start without it, which takes longer"]
