"""What Toxiproxy is told and what it tells, without one."""

import json

from harness.services.toxiproxy import ProxyState, configuration, of_phones


def state(*toxics: tuple[str, dict[str, int]], enabled: bool = True) -> ProxyState:
    return ProxyState(enabled, frozenset((kind, json.dumps(attributes)) for kind, attributes in toxics))


def test_a_link_in_words() -> None:
    assert state().words == "whole"
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
