"""A topology as a compose file that stands on its own: `docker compose -f compose.yaml up` needs nothing of ours.

The file also carries the topology (`x-testbed`), so that whoever finds a running testbed knows what it is.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from harness.errors import TestbedError
from harness.nodes import node_class
from harness.nodes.base import RenderContext, volume
from harness.services import bitcoind, lsp, phone_container, push_gateway, toxiproxy
from harness.services.tls import Authority
from harness.topology import Topology, WalletSpec

EXTENSION = "x-testbed"
BITCOIND_DIR = "/home/bitcoin/.bitcoin"
SLOW_MINER = "slow-miner"
FRESH_SECONDS = 3600
LOOK_SECONDS = 60
"""How old the slow miner lets the last block become, and how often it looks."""
BLOCKS_AT_START = bitcoind.COINBASE_MATURITY_BLOCKS + 1


def render(
    topology: Topology, project: str, images: Mapping[str, str], password: str, sockets: Path, authority: Authority
) -> dict[str, Any]:
    """The compose file's content.

    images: the image reference for each of the services.
    password: bitcoind's RPC password.
    sockets: a folder of this machine; each node gets the folder of its own name in it.
    authority: vouches for the push gateway, if the topology has phones.
    """
    services: dict[str, Any] = {
        "bitcoind": _bitcoind(topology, images["bitcoind"], password),
        "miner": _miner(images["bitcoind"], password),
    }
    if topology.chain.keep_fresh:
        services[SLOW_MINER] = _slow_miner(images["bitcoind"], password)
    volumes: dict[str, dict[str, Any]] = {name: {} for name in ("bitcoind", *topology.nodes)}
    configs = dict[str, str]()
    for name, spec in topology.nodes.items():
        around = RenderContext(images[name], bitcoind.RPC_USER, password, bitcoind.RPC_PORT, sockets / name)
        implementation = node_class(spec.implementation)
        service = implementation.service(name, spec, around)
        if isinstance(spec.component, WalletSpec):
            configs |= phone_container.files(name, spec.component, implementation, service)
            volumes[phone_container.wallet_name(name)] = {}
            service = phone_container.service(name, service, images[name])
        # LND and CLN sync at once, and stay synced, only when the first blocks are there already.
        services[name] = service | {"depends_on": {"miner": {"condition": "service_completed_successfully"}}}
    for node, component in topology.components.items():
        if topology.phones:
            component = component.model_copy(update={"ca": (component.ca or "") + authority.ca})
        name, of_node = lsp.service_name(node), node_class(topology.nodes[node].implementation)
        services[name] = lsp.service(node, component, images[name], of_node, sockets / node)
        configs |= {source: content for source, (_, content) in lsp.files(node, component, of_node).items()}
        volumes[name] = {} if component.disk_mb is None else _in_memory(component.disk_mb)
    if topology.phones:
        proxies = proxies_of(topology)
        services[toxiproxy.NAME] = toxiproxy.service(images[toxiproxy.NAME])
        services[push_gateway.NAME] = push_gateway.service(images[push_gateway.NAME])
        configs[toxiproxy.NAME] = toxiproxy.configuration(proxies.values(), phone_container.PORT)
        configs |= push_gateway.files({name: one.push_address for name, one in proxies.items()}, authority)
        volumes[push_gateway.NAME] = {}
    for service in services.values():
        # Official images differ in user and home; so every one runs alike.
        service |= {"user": "0:0", "environment": {"HOME": "/root"} | service.get("environment", {})}
    return {
        "name": project,
        EXTENSION: {"topology": topology.model_dump(mode="json", by_alias=True), "ca": authority.ca},
        "services": services,
        "volumes": volumes,
        "configs": {source: {"content": content} for source, content in configs.items()},
    }


def proxies_of(topology: Topology) -> dict[str, toxiproxy.PhoneProxies]:
    """Toxiproxy's proxies for each phone, by its name."""
    return toxiproxy.of_phones({phone: topology.lsp_of(phone) for phone in topology.phones})


def _yaml() -> YAML:
    """YAML as compose files are written: text of several lines, such as a component's configuration, stays readable."""
    yaml = YAML()
    yaml.width = 120
    yaml.representer.add_representer(str, _represent_text)
    return yaml


def _represent_text(representer: RoundTripRepresenter, text: str) -> ScalarNode:
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def write(content: Mapping[str, Any], path: Path) -> None:
    """Write the compose file, keys in our order; it is there as a whole or not at all."""
    literal = _each_text(content, lambda text: text.replace("$", "$$"))  # or Compose puts variables in its place
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        _yaml().dump(literal, file)
    part.replace(path)


def read(path: Path) -> dict[str, Any]:
    """The content of a compose file that `write` wrote. Raises TestbedError if it is none."""
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError) as error:
        raise TestbedError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict) or EXTENSION not in content:
        raise TestbedError(f"{path} is not a testbed's compose file: it has no {EXTENSION}")
    plain: dict[str, Any] = _each_text(content, lambda text: text.replace("$$", "$"))
    return plain


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """The same with every text changed that is not a key."""
    match value:
        case str():
            return change(value)
        case Mapping():
            return {key: _each_text(item, change) for key, item in value.items()}
        case list() | tuple():
            return [_each_text(item, change) for item in value]
    return value


def topology_of(path: Path) -> Topology:
    """The topology that a rendered compose file carries. Raises TestbedError."""
    try:
        return Topology.model_validate(read(path)[EXTENSION]["topology"])
    except (ValidationError, LookupError, TypeError):
        raise TestbedError(f"{path} was written by another release of the testbed") from None


def ca_of(path: Path) -> str:
    """The certificate of the testbed's own authority (PEM) in a rendered compose file."""
    return str(read(path)[EXTENSION]["ca"])


def password_of(path: Path) -> str:
    """The password of bitcoind's RPC in a rendered compose file."""
    command = read(path)["services"]["bitcoind"]["command"]
    return next(str(word).partition("=")[2] for word in command if word.startswith("-rpcpassword="))


def bitcoin_cli(password: str) -> tuple[str, ...]:
    """bitcoind's own command line, ready for arguments."""
    return ("bitcoin-cli", "-regtest", f"-rpcuser={bitcoind.RPC_USER}", f"-rpcpassword={password}")


def _in_memory(size_mb: int) -> dict[str, Any]:
    """A volume of a limited size. What is in it is lost when the last container that uses it stops."""
    return {"driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": f"size={size_mb}m"}}


def _bitcoind(topology: Topology, image: str, password: str) -> dict[str, Any]:
    return {
        "image": topology.chain.image or image,
        "entrypoint": ["bitcoind"],
        "command": [
            "-regtest",
            f"-datadir={BITCOIND_DIR}",
            "-printtoconsole",
            "-server",
            "-listen=0",
            "-disablewallet",
            "-txindex",
            f"-rpcuser={bitcoind.RPC_USER}",
            f"-rpcpassword={password}",
            "-rpcbind=0.0.0.0",
            "-rpcallowip=0.0.0.0/0",
            "-rpcworkqueue=256",
            "-zmqpubrawblock=tcp://0.0.0.0:28332",
            "-zmqpubrawtx=tcp://0.0.0.0:28333",
            *topology.chain.args,
        ],
        "volumes": [volume("bitcoind", BITCOIND_DIR)],
        "ports": [f"127.0.0.1::{bitcoind.RPC_PORT}"],
        "stop_grace_period": "30s",
    }


def _slow_miner(image: str, password: str) -> dict[str, Any]:
    """Mines a block when the last one is FRESH_SECONDS old, by this machine's clock."""
    cli = " ".join([*bitcoin_cli(password), "-rpcconnect=bitcoind"])
    return {
        "image": image,
        "entrypoint": ["sh", "-c"],
        "command": [
            f"""while sleep {LOOK_SECONDS}; do
  mined=$({cli} getblockheader "$({cli} getbestblockhash)" | sed -n 's/.*"time": *\\([0-9]*\\).*/\\1/p')
  if [ -n "$mined" ] && [ $(($(date +%s) - mined)) -ge {FRESH_SECONDS} ]; then
    {cli} generatetoaddress 1 {bitcoind.MINER_ADDRESS}
  fi
done"""
        ],
        "depends_on": {"miner": {"condition": "service_completed_successfully"}},
        "stop_grace_period": "0s",
    }


def _miner(image: str, password: str) -> dict[str, Any]:
    """Mines the first blocks and ends; a second start mines as many more, which harms nobody."""
    return {
        "image": image,
        "entrypoint": list(bitcoin_cli(password)),
        "command": [
            "-rpcconnect=bitcoind",
            "-rpcwait",
            "-rpcwaittimeout=60",
            "generatetoaddress",
            str(BLOCKS_AT_START),
            bitcoind.MINER_ADDRESS,
        ],
        "depends_on": ["bitcoind"],
    }
