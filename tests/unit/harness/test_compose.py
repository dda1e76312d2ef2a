"""The compose file: what is in it, and that testbeds cannot get in each other's way through it."""

import json
import os
import subprocess
import time
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from asyncpay import config
from harness import compose, compose_file
from harness.errors import TestbedError
from harness.inside.interface import PhoneConfig
from harness.services import bitcoind
from harness.services.push_gateway import Authority
from harness.topology import Topology, load

AUTHORITY = Authority(ca="a certificate", server="another, and its key")


@pytest.fixture
def topology() -> Topology:
    return load("line-mixed", {"A.image": "mine/lnd:dev"})


@pytest.fixture
def with_components() -> dict[str, Any]:
    topology = load("line", {"LSP_a.component": "asyncpay", "LSP_b.component": "their/lsp:1"})
    names = ["bitcoind", *topology.nodes, "LSP_a-lsp", "LSP_b-lsp", "push", "toxiproxy"]
    return compose.render(
        topology, "testbed-x", {name: f"image of {name}" for name in names}, "s", Path("/sockets"), AUTHORITY
    )


@pytest.fixture
def rendered(topology: Topology) -> dict[str, Any]:
    images = dict.fromkeys(["bitcoind", *topology.nodes], "img") | {"A": "mine/lnd:dev"}
    return compose.render(topology, "testbed-x", images, "secret", Path("/sockets"), AUTHORITY)


def test_every_service_keeps_its_address_in_a_network_of_the_testbeds_own(rendered: dict[str, Any]) -> None:
    """Nodes remember their peers' addresses: after a restart in any order each is where it was."""
    network = IPv4Network(rendered["networks"]["default"]["ipam"]["config"][0]["subnet"])
    addresses = [IPv4Address(each["networks"]["default"]["ipv4_address"]) for each in rendered["services"].values()]
    assert len(set(addresses)) == len(addresses)
    assert all(address in network for address in addresses)
    assert next(network.hosts()) not in addresses  # the gateway's


def test_nodes_dial_each_other_by_addresses_that_are_the_same_in_every_testbed(with_components: dict[str, Any]) -> None:
    """LND stores them, and a snapshot of it is restored in another network. The phone's LSP is behind Toxiproxy."""
    services = with_components["services"]
    linked = {
        name: service["networks"]["default"]["link_local_ips"][0]
        for name, service in services.items()
        if "link_local_ips" in service["networks"]["default"]
    }
    assert linked.keys() == {"A", "LSP_a", "router", "LSP_b", "B", "toxiproxy"}
    assert len(set(linked.values())) == len(linked)
    assert all(IPv4Address(address).is_link_local for address in linked.values())
    for node in ("A", "LSP_a", "router", "LSP_b", "B"):
        known = dict(each.split(":") for each in services[node]["extra_hosts"])
        assert known == {name: address for name, address in linked.items() if name != node}


def test_a_testbed_that_is_to_last_is_started_again(topology: Topology) -> None:
    images = dict.fromkeys(["bitcoind", *topology.nodes], "img")
    content = compose.render(
        topology, "x", images, "s", Path("/s"), AUTHORITY, compose.DOCUMENTATION, compose.KEPT_RUNNING
    )
    policies = {name: service["restart"] for name, service in content["services"].items()}
    assert policies.pop("miner") == "no"  # the others wait for its end
    assert set(policies.values()) == {"unless-stopped"}


def test_no_fixed_ports_or_names(rendered: dict[str, Any]) -> None:
    for service in rendered["services"].values():
        assert "container_name" not in service
        assert all(port.startswith("127.0.0.1::") for port in service.get("ports", []))


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


def test_the_chain_is_kept_fresh_unless_the_topology_says_otherwise(
    topology: Topology, rendered: dict[str, Any]
) -> None:
    assert subprocess.run(["sh", "-n", "-c", kept_fresh_by(rendered)], check=False).returncode == 0
    stale = topology.model_copy(update={"chain": topology.chain.model_copy(update={"keep_fresh": False})})
    images = dict.fromkeys(["bitcoind", *stale.nodes], "i")
    with pytest.raises(StopIteration):
        kept_fresh_by(compose.render(stale, "p", images, "s", Path("/s"), AUTHORITY))


def kept_fresh_by(content: dict[str, Any]) -> str:
    """The script that bitcoind starts."""
    words = [str(word).partition("=") for word in content["services"]["bitcoind"]["command"]]
    return next(value for option, _, value in words if option == "-startupnotify")


@pytest.mark.parametrize("miner", ["bitcoind", bitcoind.MINER])
@pytest.mark.parametrize(("age_seconds", "mined"), [(3_700, True), (3_500, False), (None, False)])
def test_a_block_is_mined_when_the_last_is_an_hour_old_and_not_when_bitcoind_is_away(
    rendered: dict[str, Any], tmp_path: Path, age_seconds: int | None, mined: bool, miner: str
) -> None:
    """The very script, with a bitcoin-cli of ours, and one look. The miner looks when a snapshot is restored."""
    tip = (
        "exit 1"
        if age_seconds is None
        else f"""echo '{{"height": 7,\n  "time": {int(time.time()) - age_seconds},\n}}'"""
    )
    cli = tmp_path / "bitcoin-cli"
    cli.write_text(
        f"""#!/bin/sh
case "$*" in
  *generatetoaddress*) echo mined >> {tmp_path}/mined ;;
  *getblockheader*) {tip} ;;
  *getblockcount*) echo 138 ;;
  *) echo 00ff ;;
esac
"""
    )
    cli.chmod(0o755)
    (tmp_path / "sleep").write_text(f"#!/bin/sh\n[ ! -e {tmp_path}/looked ] && touch {tmp_path}/looked\n")
    (tmp_path / "sleep").chmod(0o755)
    script = kept_fresh_by(rendered) if miner == "bitcoind" else rendered["services"][miner]["command"][0]
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["sh", "-c", script], env={"PATH": path}, check=False, timeout=20)
    assert (tmp_path / "mined").exists() is mined


def test_a_testbed_is_found_again_by_its_file(topology: Topology, rendered: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    compose_file.write(rendered, file)
    assert compose_file.topology_of(file) == topology
    assert compose_file.password_of(file) == "secret"


DOLLARS = ["--alias=cash$money", "--alias=${HOME}", "--alias=$$two", "--alias=${", "--alias=$"]


@pytest.mark.parametrize("argument", DOLLARS)
def test_dollars_are_no_variables_of_compose(argument: str, topology: Topology, tmp_path: Path) -> None:
    spec = topology.nodes["router"].model_copy(update={"args": (argument,)})
    changed = topology.model_copy(update={"nodes": topology.nodes | {"router": spec}})
    images = dict.fromkeys(["bitcoind", *changed.nodes], "i")
    file = tmp_path / "compose.yaml"
    compose_file.write(compose.render(changed, "p", images, "s", Path("/s"), AUTHORITY), file)

    written = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))["services"]["router"]["command"][-1]
    assert written == argument.replace("$", "$$")  # which Compose takes for one, literally
    assert compose_file.topology_of(file) == changed
    assert compose_file.read(file)["services"]["router"]["command"][-1] == argument


@pytest.mark.parametrize("content", ["", "services: {}\n", "x-testbed: [\n", "x-testbed: {topology: {name: a}}\n"])
def test_a_file_that_is_no_testbed_s_is_a_sentence(content: str, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(TestbedError, match=r"compose\.yaml "):
        compose_file.topology_of(file)


def test_a_component_stands_beside_its_node_and_only_reads_its_keys(with_components: dict[str, Any]) -> None:
    node, component = (with_components["services"][name] for name in ("LSP_a", "LSP_a-lsp"))
    assert component["image"] == "image of LSP_a-lsp"
    (keys,) = [mount for mount in component["volumes"] if mount["source"] == "LSP_a"]
    assert keys["read_only"]
    assert keys["source"] in [mount["source"] for mount in node["volumes"]]
    assert "LSP_a-lsp" in with_components["volumes"]
    assert {mount["type"] for mount in component["volumes"]} == {"volume"}  # nothing of this machine's folders
    assert "ports" not in component


def test_a_component_may_have_a_disk_that_fills_up() -> None:
    small = load("line", {"LSP_a.component": {"disk_mb": 8}, "LSP_b.component": "asyncpay"})  # type: ignore[dict-item]
    images = dict.fromkeys(["bitcoind", *small.nodes, "LSP_a-lsp", "LSP_b-lsp", "push", "toxiproxy"], "img")
    volumes = compose.render(small, "testbed-x", images, "secret", Path("/sockets"), AUTHORITY)["volumes"]
    assert volumes["LSP_a-lsp"]["driver_opts"] == {"type": "tmpfs", "device": "tmpfs", "o": "size=8m"}
    assert volumes["LSP_b-lsp"] == {}


def test_a_component_s_configuration_is_in_the_file(with_components: dict[str, Any]) -> None:
    component = with_components["services"]["LSP_b-lsp"]
    (file,) = [file for file in component["configs"] if file["target"] in component["entrypoint"]]
    assert 'address = "LSP_b:10009"' in with_components["configs"][file["source"]]["content"]


def test_a_node_waits_for_the_interceptor_only_beside_a_component(with_components: dict[str, Any]) -> None:
    requiring = {
        name
        for name, service in with_components["services"].items()
        if "--requireinterceptor" in service.get("command", ())
    }
    assert requiring == {"LSP_a", "LSP_b"}


def test_a_phone_is_one_container_with_two_apps(with_components: dict[str, Any], tmp_path: Path) -> None:
    phone, configs = with_components["services"]["B"], with_components["configs"]
    assert phone["image"] == "image of B"
    files = {file["target"]: configs[file["source"]]["content"] for file in phone["configs"]}
    node, wallet = PhoneConfig.model_validate_json(files[phone["environment"]["PHONE_CONFIG"]]).apps
    assert node.command[:1] == ("lnd",)
    assert "--nolisten" in node.command
    assert wallet.command == ("asyncpay", "wallet", "run")
    (tmp_path / "wallet.toml").write_text(files[phone["environment"]["ASYNCPAY_WALLET_CONFIG"]], encoding="utf-8")
    read = config.load(tmp_path / "wallet.toml", config.WalletConfig)
    assert isinstance(read.node, config.LndConfig)
    assert read.node.address == "localhost:10009"
    kept = {mount["target"] for mount in phone["volumes"]}
    assert kept == {str(read.node.macaroon.parent), str(read.store.path.parent)}


def test_a_phone_s_way_to_the_world_is_toxiproxy(with_components: dict[str, Any]) -> None:
    services, configs = with_components["services"], with_components["configs"]
    proxies = {proxy["name"]: proxy for proxy in json.loads(configs["toxiproxy"]["content"])}
    assert {name: proxy["upstream"] for name, proxy in proxies.items()} == {
        "A-link": "LSP_a:9735",
        "A-push": "A:8080",
        "B-link": "LSP_b:9735",
        "B-push": "B:8080",
    }
    assert len({proxy["listen"] for proxy in proxies.values()}) == len(proxies)
    gateway = json.loads(configs["push"]["content"])
    port = proxies["A-push"]["listen"].partition(":")[2]
    assert gateway["phones"]["A"] == f"http://toxiproxy:{port}/push"
    for name in ("LSP_a-lsp", "LSP_b-lsp"):  # they trust the gateway
        assert AUTHORITY.ca in [configs[file["source"]]["content"] for file in services[name]["configs"]]


def test_without_phones_there_is_neither_gateway_nor_proxy(rendered: dict[str, Any]) -> None:
    assert not {"push", "toxiproxy"} & rendered["services"].keys()


def test_core_lightning_has_the_plugin_only_beside_a_component() -> None:
    topology = load("line-cln", {"LSP_a.component": "asyncpay"})
    images = dict.fromkeys(["bitcoind", *topology.nodes, "LSP_a-lsp"], "img")
    services = compose.render(topology, "x", images, "s", Path("/sockets"), AUTHORITY)["services"]
    with_plugin = [name for name, each in services.items() if any("plugin.py" in word for word in each["command"])]
    assert with_plugin == ["LSP_a"]
    (socket,) = [mount for mount in services["LSP_a"]["volumes"] if mount["type"] == "bind"]
    assert socket in services["LSP_a-lsp"]["volumes"]


def test_a_configuration_stays_readable(with_components: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    compose_file.write(with_components, file)
    assert "    content: |\n      [node]\n" in file.read_text(encoding="utf-8")
    assert compose_file.read(file) == with_components


def test_a_file_that_was_changed_by_hand_is_read_as_it_is(with_components: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    compose_file.write(with_components, file)
    file.write_text(file.read_text(encoding="utf-8").replace("name: testbed-x", "name: testbed-y", 1), encoding="utf-8")
    assert compose_file.read(file)["name"] == "testbed-y"
    (tmp_path / "compose.json").write_text("{")
    assert compose_file.read(file) == with_components | {"name": "testbed-y"}


def play(script: str, folder: Path, answers: str) -> list[str]:
    """Run a script of the compose file with a bitcoin-cli that says this; what the latter was asked, in order."""
    cli = folder / "bitcoin-cli"
    cli.write_text(f'#!/bin/sh\nshift 3\necho "$*" >> {folder}/asked\ncase "$*" in\n{answers}\nesac\n')
    cli.chmod(0o755)
    subprocess.run(["sh", "-c", script], env={"PATH": f"{folder}:{os.environ['PATH']}"}, check=False, timeout=20)
    return (folder / "asked").read_text().splitlines()


@pytest.mark.parametrize(("height", "mines"), [(0, True), (129, True), (130, False), (250, False)])
def test_the_miner_mines_once_however_often_it_is_started(
    rendered: dict[str, Any], tmp_path: Path, height: int, mines: bool
) -> None:
    script = rendered["services"]["miner"]["command"][0]
    asked = play(script, tmp_path, f"*getblockcount) echo {height} ;;")
    assert any("generatetoaddress 130" in each for each in asked) is mines


def test_every_block_is_on_the_disk_at_once(rendered: dict[str, Any], tmp_path: Path) -> None:
    """So that SIGKILL loses none: bitcoind runs this for each block."""
    (notify,) = [word for word in rendered["services"]["bitcoind"]["command"] if word.startswith("-blocknotify=")]
    script = notify.partition("=")[2].replace("/tmp/", f"{tmp_path}/")
    assert play(script, tmp_path, "*) ;;") == ["gettxoutsetinfo none"]
    assert play(script, tmp_path, "*) ;;") == ["gettxoutsetinfo none"] * 2
