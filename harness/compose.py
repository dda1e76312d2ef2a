"""A topology as a self-contained compose file: `docker compose -f compose.yaml up` works without the testbed.

The file also contains the topology (`x-testbed`), so that a running testbed can be identified.
"""

import hashlib
import json
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from harness.folders import EXTENSION
from harness.nodes import node_class
from harness.nodes.base import RenderContext
from harness.services import bitcoind, lsp, phone_container, push_gateway, toxiproxy
from harness.services.push_gateway import Authority
from harness.topology import Topology, WalletSpec

KEPT_RUNNING, LEFT_ENDED = "unless-stopped", "no"
"""Restart policies: for a long-lived testbed, and for one in which tests inspect services that have exited."""


PEER_ADDRESSES = IPv4Network("169.254.64.0/20")
"""Link-local addresses (RFC 3927), by which nodes dial each other. LND stores the addresses of its peers, and these
are the same in every testbed of a topology: so a node's data can be restored in the network of another testbed.
"""
SNAPSHOT_FORMAT = 2
"""Incremented when earlier snapshots can no longer be restored, or when bring-up ends in a different state."""
SNAPSHOT_NAME_DIGITS = 16
DOCUMENTATION = IPv4Network("192.0.2.0/24")
"""Addresses for documentation (RFC 5737), for files that are never started."""


def render(
    topology: Topology,
    project: str,
    images: Mapping[str, str],
    password: str,
    sockets: Path,
    authority: Authority,
    subnet: IPv4Network = DOCUMENTATION,
    restart: str = LEFT_ENDED,
) -> dict[str, Any]:
    """Return the compose file's content.

    images: the image reference for each of the services.
    password: bitcoind's RPC password.
    sockets: a folder on this machine; each node gets a subfolder with its name.
    authority: issues the push gateway's certificate, if the topology has phones.
    subnet: each service has a fixed address in it, because nodes store the addresses of their peers.
    restart: the restart policy for services that exit.
    """
    services: dict[str, Any] = {
        "bitcoind": bitcoind.bitcoind_service(topology.chain, images["bitcoind"], password),
        bitcoind.MINER: bitcoind.miner_service(images["bitcoind"], password, topology.chain.keep_fresh),
    }
    volumes: dict[str, dict[str, Any]] = {name: {} for name in ("bitcoind", *topology.nodes)}
    peers = _peer_addresses(topology)
    configs = dict[str, str]()
    proxies = toxiproxy.of_topology(topology)
    for name, spec in topology.nodes.items():
        around = RenderContext(images[name], bitcoind.RPC_USER, password, bitcoind.RPC_PORT, sockets / name)
        implementation = node_class(spec.implementation)
        service = implementation.service(name, spec, around)
        if isinstance(spec.component, WalletSpec):
            configs |= phone_container.files(name, spec.component, implementation, service, proxies[name].lsp_address)
            volumes[phone_container.wallet_name(name)] = {}
            service = phone_container.service(name, service, images[name])
        # LND and CLN sync immediately, and stay synced, only if the first blocks exist before they start.
        services[name] = service | {
            "depends_on": {"miner": {"condition": "service_completed_successfully"}},
            "extra_hosts": [f"{peer}:{address}" for peer, address in peers.items() if peer != name],
        }
    for node, component in topology.components.items():
        if topology.phones:
            component = component.model_copy(update={"ca": (component.ca or "") + authority.ca})
        name, of_node = lsp.service_name(node), node_class(topology.nodes[node].implementation)
        services[name] = lsp.service(node, component, images[name], of_node, sockets / node)
        configs |= {source: content for source, (_, content) in lsp.files(node, component, of_node).items()}
        volumes[name] = {} if component.disk_mb is None else _in_memory(component.disk_mb)
    if topology.phones:
        services[toxiproxy.NAME] = toxiproxy.service(images[toxiproxy.NAME])
        services[push_gateway.NAME] = push_gateway.service(images[push_gateway.NAME])
        configs[toxiproxy.NAME] = toxiproxy.configuration(proxies.values(), phone_container.PORT)
        configs |= push_gateway.files({name: one.push_address for name, one in proxies.items()}, authority)
        volumes[push_gateway.NAME] = {}
    addresses = list(subnet.hosts())[1:]  # the first is the gateway's
    for (name, service), address in zip(services.items(), addresses, strict=False):
        # Official images differ in user and home directory; these settings are the same for all of them.
        service |= {"user": "0:0", "environment": {"HOME": "/root"} | service.get("environment", {})}
        linked = {"link_local_ips": [peers[name]]} if name in peers else {}
        service["networks"] = {"default": {"ipv4_address": str(address), **linked}}
        service.setdefault("restart", LEFT_ENDED if name == bitcoind.MINER else restart)
    return {
        "name": project,
        EXTENSION: {"topology": topology.model_dump(mode="json", by_alias=True), "ca": authority.ca},
        "services": services,
        "networks": {"default": {"ipam": {"config": [{"subnet": str(subnet)}]}}},
        "volumes": volumes,
        "configs": {source: {"content": content} for source, content in configs.items()},
    }


def snapshot_name(topology: Topology, references: Mapping[str, str], identities: Mapping[str, str]) -> str | None:
    """Return a digest of everything that determines the nodes' state after `up`: the services, their configuration,
    the channels, and the exact images. None if the state cannot be kept: a disk in memory is empty after a restart, and
    nodes do not sync to a chain that stays old.

    references: the image of each service; identities: the content digest of each image reference.
    """
    if not topology.chain.keep_fresh or any(each.disk_mb for each in topology.components.values()):
        return None
    content = render(topology, "any", references, "any", Path("/any"), Authority("any", "any"))
    content[EXTENSION]["topology"].pop("name")
    decisive = {"format": SNAPSHOT_FORMAT, "content": content, "images": dict(identities)}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:SNAPSHOT_NAME_DIGITS]


def _peer_addresses(topology: Topology) -> dict[str, str]:
    """Return the link-local address of each node, and of Toxiproxy between phones and their LSPs: only a service with
    such an address can dial another.
    """
    services = [*topology.nodes, *([toxiproxy.NAME] if topology.phones else [])]
    return {name: str(address) for name, address in zip(services, PEER_ADDRESSES.hosts(), strict=False)}


def _in_memory(size_mb: int) -> dict[str, Any]:
    """A volume of limited size. Its content is lost when the last container that uses it stops."""
    return {"driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": f"size={size_mb}m"}}
