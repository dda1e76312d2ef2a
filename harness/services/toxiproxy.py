"""Toxiproxy between phones and other services: one proxy for a phone's link to its LSP, one for its pushes.

A proxy that is disabled closes the connections through it on both sides and accepts no new one. A toxic changes
the traffic: see Toxiproxy's own documentation (2.12).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import requests

from harness.engines.base import Engine, EngineError
from harness.errors import NodeError
from harness.nodes.base import P2P_PORT
from harness.services import local_http
from harness.topology import Topology
from harness.waits import Predicate

NAME = "toxiproxy"
API_PORT = 8474
CONFIG = "/config.json"
FIRST_LINK_PORT, FIRST_PUSH_PORT = 21_001, 22_001
CALL_SECONDS = 10
AGENT = {"user-agent": "lightning-testbed"}
"""Toxiproxy refuses requests that look like a browser's."""


class Direction(StrEnum):
    """The direction of traffic through a proxy, in Toxiproxy's terms: upstream is the service that it connects to.

    On a phone's link UPSTREAM is from the phone to its LSP, DOWNSTREAM from the LSP to the phone.
    """

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"


@dataclass(frozen=True)
class PhoneProxies:
    """The proxies of one phone; the ports are Toxiproxy's own."""

    phone: str
    lsp: str
    link_port: int
    push_port: int

    @property
    def link(self) -> str:
        """Name of the proxy between the phone and its LSP."""
        return f"{self.phone}-link"

    @property
    def push(self) -> str:
        """Name of the proxy between the push gateway and the phone."""
        return f"{self.phone}-push"

    @property
    def lsp_address(self) -> str:
        """The address at which the phone dials its LSP."""
        return f"{NAME}:{self.link_port}"

    @property
    def push_address(self) -> str:
        """The address at which the push gateway reaches the phone."""
        return f"{NAME}:{self.push_port}"


def of_phones(lsps: dict[str, str]) -> dict[str, PhoneProxies]:
    """Return the proxies of each phone, by its name. lsps: the LSP of each phone, by the phone's name."""
    return {
        phone: PhoneProxies(phone, lsp, FIRST_LINK_PORT + index, FIRST_PUSH_PORT + index)
        for index, (phone, lsp) in enumerate(lsps.items())
    }


def of_topology(topology: Topology) -> dict[str, PhoneProxies]:
    """The proxies of each phone of a topology, by the phone's name."""
    return of_phones({phone: topology.lsp_of(phone) for phone in topology.phones})


def service(image: str) -> dict[str, Any]:
    """Toxiproxy's compose service."""
    return {
        "image": image,
        "entrypoint": ["/toxiproxy"],
        "command": ["-host=0.0.0.0", f"-config={CONFIG}"],
        "configs": [{"source": NAME, "target": CONFIG}],
        "ports": [f"127.0.0.1::{API_PORT}"],
        "stop_grace_period": "5s",
    }


def configuration(proxies: Iterable[PhoneProxies], phone_port: int) -> str:
    """Return its initial configuration: every proxy enabled."""
    upstreams = [
        each
        for one in proxies
        for each in (
            (one.link, one.link_port, f"{one.lsp}:{P2P_PORT}"),
            (one.push, one.push_port, f"{one.phone}:{phone_port}"),
        )
    ]
    return json.dumps(
        [
            {"name": name, "listen": f"0.0.0.0:{port}", "upstream": upstream, "enabled": True}
            for name, port, upstream in upstreams
        ],
        indent=2,
    )


_WORDS = {
    "timeout": "a black hole",
    "latency": "latency {latency} ms",
    "bandwidth": "{rate} kB/s",
    "reset_peer": "reset",
}


@dataclass(frozen=True)
class ProxyState:
    """The state of a proxy. toxics: the conditions of its traffic, in both directions."""

    enabled: bool
    toxics: frozenset[tuple[str, str]]
    """Of each its type, and its attributes as JSON."""

    def by_kind(self) -> list[tuple[str, dict[str, int]]]:
        """The toxics in order, with their attributes as numbers."""
        return [(kind, json.loads(attributes)) for kind, attributes in sorted(self.toxics)]

    @property
    def words(self) -> str:
        """For people."""
        if not self.enabled:
            return "disconnected"
        return ", ".join(_WORDS.get(kind, kind).format(**values) for kind, values in self.by_kind()) or "normal"


class Toxiproxy:
    """The running Toxiproxy. Every call raises NodeError if it does not answer or refuses."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def answers(self) -> Predicate:
        """Toxiproxy answers calls."""

        def missing() -> str | None:
            self._call("GET", "/version")
            return None

        return Predicate("toxiproxy_answers", missing)

    def state(self, proxy: str) -> ProxyState:
        """Return whether a proxy is enabled, and its toxics."""
        seen = self._call("GET", f"/proxies/{proxy}")
        toxics = frozenset((toxic["type"], json.dumps(toxic["attributes"])) for toxic in seen["toxics"])
        return ProxyState(seen["enabled"], toxics)

    def enable(self, proxy: str, enabled: bool) -> None:
        """Enable or disable a proxy; the latter closes the connections through it."""
        self._call("POST", f"/proxies/{proxy}", {"enabled": enabled})
        self._keep()

    def add(self, proxy: str, kind: str, *directions: Direction, **attributes: int) -> None:
        """Add a toxic, in both directions unless one is named, or change the one of this kind.

        It applies to open connections, too.
        """
        toxics = f"/proxies/{proxy}/toxics"
        present = {toxic["name"] for toxic in self._call("GET", toxics)}
        for stream in directions or tuple(Direction):
            name = f"{kind}_{stream}"
            body = {"name": name, "type": kind, "stream": stream, "attributes": attributes}
            self._call("POST", f"{toxics}/{name}" if name in present else toxics, body)
        self._keep()

    def clear(self, proxy: str) -> None:
        """Remove every toxic."""
        for toxic in self._call("GET", f"/proxies/{proxy}")["toxics"]:
            self._call("DELETE", f"/proxies/{proxy}/toxics/{toxic['name']}")
        self._keep()

    def _keep(self) -> None:
        """Write all links to Toxiproxy's configuration file: a link that is cut stays cut when Toxiproxy is restarted.

        Toxiproxy ignores toxics in that file; `restore` applies them.
        """
        proxies = list(self._call("GET", "/proxies").values())
        self._engine.write(NAME, CONFIG, json.dumps(proxies, indent=2).encode())

    def restore(self) -> None:
        """Add the toxics again that existed before Toxiproxy was restarted."""
        for proxy in json.loads(self._engine.read(NAME, CONFIG)):
            toxics = f"/proxies/{proxy['name']}/toxics"
            present = {toxic["name"] for toxic in self._call("GET", toxics)}
            for toxic in proxy.get("toxics", ()):
                if toxic["name"] not in present:
                    self._call("POST", toxics, toxic)

    def _call(self, verb: str, path: str, body: Any = None) -> Any:
        try:
            url = f"http://{self._engine.address(NAME, API_PORT)}{path}"
            answer = local_http.call(verb, url, body=body, headers=AGENT, timeout_seconds=CALL_SECONDS)
            answer.raise_for_status()
        except requests.HTTPError as error:
            raise NodeError(f"toxiproxy refuses {verb} {path}: {error.response.text.strip()}") from None
        except (requests.RequestException, EngineError) as error:
            raise NodeError(f"toxiproxy does not answer: {error}") from None
        return answer.json() if answer.content else None
