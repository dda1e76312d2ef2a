"""Topology files: what stands in them, and what is said about those that cannot stand."""

from pathlib import Path

import pytest

from asyncpay.engine.policy import LspPolicy
from harness.topology import Role, Topology, TopologyError, load, shipped

GOOD = """\
nodes:
  A: {role: payer}
  B: {role: payee, implementation: cln, args: [--x]}
channels:
  - {from: A, to: B, capacity_sat: 1_000_000, push_sat: 1, private: true}
  - {from: A, to: B, capacity_sat: 200_000}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "net.yaml"


def complaint(file: Path, text: str, settings: dict[str, str] | None = None) -> str:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(TopologyError) as caught:
        load(file, settings)
    return str(caught.value).replace(str(file), "net.yaml")


def test_a_good_file(file: Path) -> None:
    file.write_text(GOOD, encoding="utf-8")
    topology = load(file)
    assert topology.name == "net"
    assert topology.nodes["A"].role is Role.PAYER
    assert topology.nodes["A"].implementation == "lnd"
    assert topology.nodes["B"].args == ("--x",)
    first, second = topology.channels
    assert (first.opener, first.peer, first.capacity_sat, first.push_sat, first.private) == ("A", "B", 10**6, 1, True)
    assert not second.private


def test_settings_change_a_topology_without_a_file(file: Path) -> None:
    file.write_text(GOOD, encoding="utf-8")
    topology = load(file, {"A": "cln", "B.version": "v25.12"})
    assert topology.implementations == {"cln"}
    assert topology.nodes["B"].version == "v25.12"


LSP = GOOD.replace("A: {role: payer}", "A: {role: lsp, component: {policy: {max_holds: 10}}}")


def test_a_component(file: Path) -> None:
    file.write_text(LSP, encoding="utf-8")
    (component,) = load(file).components.values()
    assert component.image == "asyncpay"
    assert component.policy == LspPolicy(max_holds=10)


@pytest.mark.parametrize("image", ["asyncpay", "their/lsp:1"])
def test_a_component_in_one_word(file: Path, image: str) -> None:
    file.write_text(GOOD.replace("role: payer", f"role: lsp, component: {image}"), encoding="utf-8")
    in_the_file = load(file)
    file.write_text(GOOD.replace("role: payer", "role: lsp"), encoding="utf-8")
    assert load(file).components == {}
    assert load(file, {"A.component": image}) == in_the_file
    assert in_the_file.components["A"].image == image


PHONES = """\
nodes:
  A: {role: payer, component: asyncpay}
  LSP: {role: lsp}
  B: {role: payee, component: {image: my/phone:1, policy: {slack_blocks: 7}}}
channels:
  - {from: A, to: LSP, capacity_sat: 1_000_000}
  - {from: LSP, to: B, capacity_sat: 1_000_000}
"""


def test_a_payer_or_payee_with_a_component_is_a_phone(file: Path) -> None:
    file.write_text(PHONES, encoding="utf-8")
    topology = load(file)
    assert topology.components == {}
    assert {name: (wallet.image, wallet.policy) for name, wallet in topology.phones.items()} == {
        "A": ("asyncpay", {}),
        "B": ("my/phone:1", {"slack_blocks": 7}),
    }
    assert [topology.lsp_of(phone) for phone in topology.phones] == ["LSP", "LSP"]
    assert Topology.model_validate(topology.model_dump(mode="json", by_alias=True)) == topology


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_shipped_topologies_are_the_protocols_network(path: Path) -> None:
    topology = load(path.stem)
    assert list(topology.nodes) == ["A", "LSP_a", "router", "LSP_b", "B"]
    assert [node.role for node in topology.nodes.values()] == ["payer", "lsp", "router", "lsp", "payee"]
    phones = {"A", "B"}
    assert all(channel.private == bool(phones & {channel.opener, channel.peer}) for channel in topology.channels)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "net.yaml:1: a topology has the sections", id="empty file"),
        pytest.param("- A\n", "net.yaml:1: a topology has the sections", id="a list"),
        pytest.param("nodes: {}\n", "net.yaml:1: nodes: ", id="no nodes"),
        pytest.param("channels: []\n", "net.yaml:1: nodes: is missing", id="nodes missing"),
        pytest.param("nodes: {A: {role: payer\n", "net.yaml:2: not YAML: ", id="not YAML"),
        pytest.param(
            GOOD.replace("to: B, capacity_sat: 200", "to: C, capacity_sat: 200"),
            "net.yaml:6: channels.1.to: there is no node C (nodes: A, B)",
            id="unknown node",
        ),
        pytest.param(
            GOOD.replace("to: B, capacity_sat: 200", "to: A, capacity_sat: 200"),
            "net.yaml:6: channels.1.to: A cannot have a channel to itself",
            id="channel to itself",
        ),
        pytest.param(
            GOOD.replace("push_sat: 1,", "push_sat: 960_000,"),
            "net.yaml:5: channels.0.push_sat: no funds left for A",
            id="no funds: everything pushed",
        ),
        pytest.param(
            GOOD + "  - {from: A, to: B, capacity_sat: 16_000_000}\n" * 300,
            "net.yaml:4: channels: no funds: the channels need 4801200000 sat",
            id="no funds: more than the first block pays",
        ),
        pytest.param(
            GOOD.replace("  B:", "  A:"),
            "net.yaml:3: duplicate name: A",
            id="duplicate name",
        ),
        pytest.param(
            GOOD.replace("  B:", "  a:").replace("to: B", "to: a"),
            "net.yaml:2: nodes.A: another node's name differs only in case",
            id="names that differ in case",
        ),
        pytest.param(
            GOOD.replace("200_000", "plenty"),
            "net.yaml:6: channels.1.capacity_sat: Input should be a valid integer, not 'plenty'",
            id="wrong type",
        ),
        pytest.param(
            GOOD.replace("role: payer", "role: 7"), "net.yaml:2: nodes.A.role: Input should be 'payer'", id="wrong role"
        ),
        pytest.param(
            GOOD.replace("private: true", "privat: true"),
            "net.yaml:5: channels.0.privat: is not a known field (known: capacity_sat, from, private, push_sat, to)",
            id="misspelt field",
        ),
        pytest.param(
            GOOD.replace("1_000_000", "1_000"), "net.yaml:5: channels.0.capacity_sat: Input should be", id="too small"
        ),
        pytest.param(GOOD.replace("A:", "bitcoind:"), "net.yaml:2: nodes.bitcoind: bitcoind is a name", id="reserved"),
        pytest.param(
            GOOD.replace("A:", "12:"), "YAML reads this as 12, which is not a string; put it in quotes", id="a number"
        ),
        pytest.param(GOOD.replace("A:", "localhost:"), "net.yaml:2: nodes.localhost: localhost is a name", id="host"),
        pytest.param(GOOD.replace("A:", "ip6-loopback:"), "ip6-loopback is a name by which", id="host of IPv6"),
        pytest.param(GOOD.replace("A:", "sidecar-B:"), "sidecar-B is a name that the testbed", id="a helper's name"),
        pytest.param(
            GOOD.replace("  A:", "  A b:"), "net.yaml:2: nodes.A b: 'A b' is not a valid node name", id="bad name"
        ),
        pytest.param(
            GOOD.replace("role: payer", "role: payer, image: x, version: y"),
            "net.yaml:2: nodes.A: give an image or a version, not both",
            id="image and version",
        ),
        pytest.param(
            LSP.replace("role: lsp", "role: router"),
            "net.yaml:2: nodes.A.component: a router cannot have one: it does not take part in the protocol",
            id="component of a router",
        ),
        pytest.param(
            LSP.replace("{max_holds", "\n    {max_hold"),
            "net.yaml:3: nodes.A.component.policy.max_hold: is not a known field",
            id="misspelt limit",
        ),
        pytest.param(
            LSP.replace("10", "many"),
            "net.yaml:2: nodes.A.component.policy.max_holds: Input should be a valid integer",
            id="limit that is no number",
        ),
        pytest.param(
            LSP.replace("policy", "polcy"),
            "net.yaml:2: nodes.A.component.polcy: is not a known field",
            id="misspelt policy",
        ),
        pytest.param(
            PHONES.replace("{from: A, to: LSP,", "{from: A, to: B,"),
            "net.yaml:2: nodes.A: A and B are both phones: neither can dial the other",
            id="phones alone",
        ),
        pytest.param(
            PHONES.replace("{from: A, to: LSP,", "{from: B, to: LSP,"),
            "net.yaml:2: nodes.A: a phone has channels to one node, its LSP; A has them to no node",
            id="phone without a channel",
        ),
        pytest.param(
            PHONES + "  - {from: router, to: A, capacity_sat: 1_000_000}\n",
            "channels.2.from: there is no node router",
            id="phone with a channel to nowhere",
        ),
        pytest.param(
            PHONES.replace("policy: {", "polcy: {"), "net.yaml:4: nodes.B.component.polcy: is not", id="misspelt limits"
        ),
        pytest.param(
            PHONES.replace("slack_blocks", "slack_blokcs"),
            "net.yaml:4: nodes.B.component.policy.slack_blokcs: is not a known field",
            id="misspelt limit of a wallet",
        ),
        pytest.param(
            PHONES.replace("7}", "soon}"),
            "net.yaml:4: nodes.B.component.policy.slack_blocks: Input should be a valid integer",
            id="limit of a wallet that is no number",
        ),
        pytest.param(
            PHONES.replace("slack_blocks: 7", "max_claims: 2, max_holds: 7"),
            "net.yaml:4: nodes.B.component.policy.max_holds: is not a known field",
            id="an LSP's limit at a wallet",
        ),
        pytest.param(
            PHONES.replace("{slack_blocks: 7}", "[7]"), "net.yaml:4: nodes.B.component.policy: ", id="limits as a list"
        ),
        pytest.param(
            PHONES.replace("A: {role: payer, c", "A-wallet: {role: payer, c"), "A-wallet is a name that", id="wallet"
        ),
        pytest.param(
            GOOD.replace("B", "A-LSP"), "net.yaml:3: nodes.A-LSP: A-LSP is a name that", id="a component's name"
        ),
    ],
)
def test_faulty_topologies_are_told_with_file_line_and_field(file: Path, text: str, said: str) -> None:
    assert said in complaint(file, text)


def test_all_problems_are_told_at_once(file: Path) -> None:
    text = GOOD.replace("role: payer", "role: pay").replace("200_000", "1")
    assert len(complaint(file, text).splitlines()) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"Z": "cln"}, "--set Z=cln: there is no node Z (nodes: A, B)"),
        ({"A.colour": "red"}, "--set A.colour=red: colour cannot be set this way; component, image, "),
        ({"A": "eclair"}, "net.yaml:2: nodes.A.implementation: there is no implementation 'eclair'"),
    ],
)
def test_faulty_settings(file: Path, settings: dict[str, str], said: str) -> None:
    assert said in complaint(file, GOOD, settings)


def test_no_such_file() -> None:
    with pytest.raises(TopologyError, match="nowhere: no such topology file, and none of the shipped ones"):
        load("nowhere")


def test_yaml_holds_no_surprises(file: Path) -> None:
    """Leading zeros are no octal number, and `no` is a name."""
    file.write_text(GOOD.replace("A:", "no:").replace("from: A", "from: no").replace("200_000", "0200_000"))
    topology = load(file)
    assert list(topology.nodes) == ["no", "B"]
    assert topology.channels[1].capacity_sat == 200_000
