"""The compose file: what is in it, and that testbeds cannot get in each other's way through it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import compose
from harness.authority import Authority
from harness.topology import Topology, load

AUTHORITY = Authority(ca="a certificate", server="another, and its key")


@pytest.fixture
def topology() -> Topology:
    return load("line-mixed", {"A.image": "mine/lnd:dev"})


@pytest.fixture
def with_components() -> dict[str, Any]:
    topology = load("line", {"LSP_a.component": "asyncpay", "LSP_b.component": "their/lsp:1"})
    names = ["bitcoind", *topology.nodes, "LSP_a-lsp", "LSP_b-lsp"]
    return compose.render(
        topology, "testbed-x", {name: f"image of {name}" for name in names}, "s", Path("/sockets"), AUTHORITY
    )


@pytest.fixture
def rendered(topology: Topology) -> dict[str, Any]:
    images = dict.fromkeys(["bitcoind", *topology.nodes], "img") | {"A": "mine/lnd:dev"}
    return compose.render(topology, "testbed-x", images, "secret", Path("/sockets"), AUTHORITY)


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
    services = compose.render(
        changed, "p", dict.fromkeys(["bitcoind", *changed.nodes], "i"), "s", Path("/s"), AUTHORITY
    )["services"]
    assert services["router"]["command"][-1] == "--color=#ff0000"


def test_a_testbed_is_found_again_by_its_file(topology: Topology, rendered: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    compose.write(rendered, file)
    assert compose.topology_of(file) == topology
    assert compose.password_of(file) == "secret"


def test_a_component_stands_beside_its_node_and_only_reads_its_keys(with_components: dict[str, Any]) -> None:
    node, component = (with_components["services"][name] for name in ("LSP_a", "LSP_a-lsp"))
    assert component["image"] == "image of LSP_a-lsp"
    (keys,) = [mount for mount in component["volumes"] if mount["source"] == "LSP_a"]
    assert keys["read_only"]
    assert keys["source"] in [mount["source"] for mount in node["volumes"]]
    assert "LSP_a-lsp" in with_components["volumes"]
    assert {mount["type"] for mount in component["volumes"]} == {"volume"}  # nothing of this machine's folders
    assert "ports" not in component


def test_a_component_s_configuration_is_in_the_file(with_components: dict[str, Any]) -> None:
    (config,) = with_components["services"]["LSP_b-lsp"]["configs"]
    assert 'address = "LSP_b:10009"' in with_components["configs"][config["source"]]["content"]
    assert config["target"] in with_components["services"]["LSP_b-lsp"]["entrypoint"]


def test_a_node_waits_for_the_interceptor_only_beside_a_component(with_components: dict[str, Any]) -> None:
    requiring = {
        name
        for name, service in with_components["services"].items()
        if "--requireinterceptor" in service.get("command", ())
    }
    assert requiring == {"LSP_a", "LSP_b"}


def test_a_configuration_stays_readable(with_components: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    compose.write(with_components, file)
    assert "    content: |\n      [node]\n" in file.read_text(encoding="utf-8")
    assert yaml.safe_load(file.read_text(encoding="utf-8")) == with_components
