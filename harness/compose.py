"""A topology as a compose file that stands on its own: `docker compose -f compose.yaml up` needs nothing of ours.

The file also carries the topology (`x-testbed`), so that whoever finds a running testbed knows what it is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from harness import chain, lsp
from harness.nodes import BY_IMPLEMENTATION
from harness.nodes.base import Surroundings, volume
from harness.topology import Topology

EXTENSION = "x-testbed"
BITCOIND_DIR = "/home/bitcoin/.bitcoin"
BLOCKS_AT_START = chain.COINBASE_MATURITY_BLOCKS + 1


def render(topology: Topology, project: str, images: Mapping[str, str], password: str, sockets: Path) -> dict[str, Any]:
    """The compose file's content.

    images: the image reference for each of "bitcoind", the nodes' names and the components' services.
    password: bitcoind's RPC password.
    sockets: a folder of this machine; each node gets the folder of its own name in it.
    """
    services: dict[str, Any] = {
        "bitcoind": _bitcoind(topology, images["bitcoind"], password),
        "miner": _miner(images["bitcoind"], password),
    }
    for name, spec in topology.nodes.items():
        around = Surroundings(images[name], chain.RPC_USER, password, chain.RPC_PORT, sockets / name)
        services[name] = BY_IMPLEMENTATION[spec.implementation].service(name, spec, around) | {
            # Both implementations sync at once, and stay synced, only when the first blocks are there already.
            "depends_on": {"miner": {"condition": "service_completed_successfully"}},
        }
    components = topology.components
    for node, component in components.items():
        name = lsp.service_name(node)
        services[name] = lsp.service(node, component, images[name])
    for service in services.values():
        # Official images differ in user and home; so every one runs alike.
        service |= {"user": "0:0", "environment": {"HOME": "/root"} | service.get("environment", {})}
    return {
        "name": project,
        EXTENSION: {"topology": topology.model_dump(mode="json", by_alias=True)},
        "services": services,
        "volumes": {name: {} for name in ("bitcoind", *topology.nodes, *map(lsp.service_name, components))},
        "configs": {
            source: {"content": content}
            for node, component in components.items()
            for source, (_, content) in lsp.files(node, component).items()
        },
    }


class _Dumper(yaml.SafeDumper):
    """Text of several lines, a component's configuration, stays readable."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def write(content: Mapping[str, Any], path: Path) -> None:
    """Write the compose file, keys in our order."""
    path.write_text(yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False, width=120), encoding="utf-8")


def topology_of(path: Path) -> Topology:
    """The topology that a rendered compose file carries."""
    return Topology.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))[EXTENSION]["topology"])


def password_of(path: Path) -> str:
    """The password of bitcoind's RPC in a rendered compose file."""
    command = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]["bitcoind"]["command"]
    return next(str(word).partition("=")[2] for word in command if word.startswith("-rpcpassword="))


def bitcoin_cli(password: str) -> tuple[str, ...]:
    """bitcoind's own command line, ready for arguments."""
    return ("bitcoin-cli", "-regtest", f"-rpcuser={chain.RPC_USER}", f"-rpcpassword={password}")


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
            f"-rpcuser={chain.RPC_USER}",
            f"-rpcpassword={password}",
            "-rpcbind=0.0.0.0",
            "-rpcallowip=0.0.0.0/0",
            "-rpcworkqueue=256",
            "-zmqpubrawblock=tcp://0.0.0.0:28332",
            "-zmqpubrawtx=tcp://0.0.0.0:28333",
            *topology.chain.args,
        ],
        "volumes": [volume("bitcoind", BITCOIND_DIR)],
        "ports": [f"127.0.0.1::{chain.RPC_PORT}"],
        "stop_grace_period": "30s",
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
            chain.MINER_ADDRESS,
        ],
        "depends_on": ["bitcoind"],
    }
