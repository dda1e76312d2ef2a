"""The compose file: what is in it, and that testbeds cannot get in each other's way through it."""

from pathlib import Path
from typing import Any

import pytest

from harness import compose
from harness.topology import Topology, load


@pytest.fixture
def topology() -> Topology:
    return load("line-mixed", {"A.image": "mine/lnd:dev"})


@pytest.fixture
def rendered(topology: Topology) -> dict[str, Any]:
    images = dict.fromkeys(["bitcoind", *topology.nodes], "img") | {"A": "mine/lnd:dev"}
    return compose.render(topology, "testbed-x", images, "secret", Path("/sockets"))


def test_no_fixed_ports_names_or_subnets(rendered: dict[str, Any]) -> None:
    for service in rendered["services"].values():
        assert "container_name" not in service
        assert all(port.startswith("127.0.0.1::") for port in service.get("ports", []))
    assert "networks" not in rendered


def test_one_definition_serves_official_and_home_made_images(rendered: dict[str, Any]) -> None:
    for service in rendered["services"].values():
        assert service["user"] == "0:0"
        assert service["environment"] == {"HOME": "/root"}
        assert "/" not in service["entrypoint"][0]


def test_keys_and_macaroons_are_in_volumes_only(rendered: dict[str, Any]) -> None:
    mounts = [mount for service in rendered["services"].values() for mount in service.get("volumes", [])]
    binds = {mount["target"] for mount in mounts if mount["type"] == "bind"}
    assert binds == {"/run/cln"}  # the sockets alone
    assert {mount["source"] for mount in mounts if mount["type"] == "volume"} == set(rendered["volumes"])


def test_the_topologys_own_words_reach_the_node(topology: Topology) -> None:
    spec = topology.nodes["router"].model_copy(update={"args": ("--color=#ff0000",)})
    changed = topology.model_copy(update={"nodes": topology.nodes | {"router": spec}})
    services = compose.render(changed, "p", dict.fromkeys(["bitcoind", *changed.nodes], "i"), "s", Path("/s"))[
        "services"
    ]
    assert services["router"]["command"][-1] == "--color=#ff0000"


def test_a_testbed_is_found_again_by_its_file(topology: Topology, rendered: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    compose.write(rendered, file)
    assert compose.topology_of(file) == topology
    assert compose.password_of(file) == "secret"
