"""What Toxiproxy is told and what it tells, without one."""

import json
from typing import Any

from harness.services.toxiproxy import Direction, ProxyState, Toxiproxy, configuration, of_phones
from tests.unit.harness.played_engine import PlayedEngine


def state(*toxics: tuple[str, dict[str, int]], enabled: bool = True) -> ProxyState:
    return ProxyState(enabled, frozenset((kind, json.dumps(attributes)) for kind, attributes in toxics))


def test_a_link_in_words() -> None:
    assert state().words == "normal"
    assert state(("latency", {"latency": 300, "jitter": 0})).words == "latency 300 ms"
    both = state(("timeout", {"timeout": 0}), ("bandwidth", {"rate": 2}))
    assert both.words == "2 kB/s, a black hole"
    assert state(("latency", {"latency": 1}), enabled=False).words == "disconnected"
    assert state(("slicer", {"average_size": 1})).words == "slicer"  # added by somebody else


def test_each_phone_has_ports_of_its_own_and_none_that_a_node_dials_by_itself() -> None:
    proxies = of_phones({"A": "LSP_a", "B": "LSP_a", "C": "LSP_b"})
    listening = [proxy["listen"] for proxy in json.loads(configuration(proxies.values(), 8080))]
    assert len(set(listening)) == 6
    assert not any(address.endswith(":9735") for address in listening)
    assert proxies["B"].lsp_address == f"toxiproxy:{proxies['B'].link_port}"


class Disk(PlayedEngine):
    """Keeps the one file that is written."""

    content = b"[]"

    def write(self, service: str, path: str, content: bytes) -> None:
        self.content = content

    def read(self, service: str, path: str, most_bytes: int = 0) -> bytes:
        return self.content


class Played(Toxiproxy):
    """A Toxiproxy in memory; `restart` has it read its file, from which it takes no toxics."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        self._disk = disk
        self.proxies: dict[str, Any] = {
            "A-link": {"name": "A-link", "listen": "0.0.0.0:21001", "upstream": "L:9735", "enabled": True, "toxics": []}
        }

    def _call(self, verb: str, path: str, body: Any = None) -> Any:
        _, _, *names = path.split("/")
        if not names:
            return self.proxies
        proxy = self.proxies[names[0]]
        if verb == "POST":
            proxy["toxics"].append(body) if names[1:] else proxy.update(body)
        return proxy["toxics"] if names[1:] else proxy

    def restart(self) -> None:
        self.proxies = {each["name"]: each | {"toxics": []} for each in json.loads(self._disk.content)}


def test_links_are_after_a_restart_as_they_were() -> None:
    proxies = Played(Disk({}))
    proxies.add("A-link", "latency", Direction.UPSTREAM, latency=300)
    proxies.enable("A-link", False)
    before = proxies.state("A-link")

    proxies.restart()
    assert not proxies.state("A-link").enabled
    proxies.restore()
    proxies.restore()

    assert proxies.state("A-link") == before
    assert len(proxies.proxies["A-link"]["toxics"]) == 1
