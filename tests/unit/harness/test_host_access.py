"""`testbed env`: a shell that evaluates it has the node's command line, and every program that it starts has it too."""

import base64
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness import compose_file, host_access
from harness.errors import TestbedError
from harness.host_access import Environment, environment
from harness.nodes.cln import ClnNode
from harness.nodes.lnd import LndNode
from harness.services.push_gateway import Authority
from harness.testbed import Testbed
from harness.topology import NodeSpec, Role

CERTIFICATE = Authority.for_server("localhost").ca


class Engine:
    """All services answer at a port of this machine, and have the files of an LND."""

    compose_file = Path("compose.yaml")

    def address(self, service: str, port: int) -> str:
        return f"127.0.0.1:{port + 1}"

    def read(self, service: str, path: str, most_bytes: int = 0) -> bytes:
        return CERTIFICATE.encode() if path.endswith("tls.cert") else b"\xfb\xff macaroon"

    def socket(self, service: str, name: str) -> Path:
        return Path("/state/sockets") / service / name


class Calling(ClnNode):
    def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        assert method == "createrune"
        return {"rune": "cnVuZQ=="}


def spec(rest: bool = False) -> NodeSpec:
    return NodeSpec(role=Role.LSP, rest=rest)


@pytest.fixture
def testbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Testbed:
    """Its nodes are called A and B. Its password must be quoted, in a folder that must be, too."""
    monkeypatch.setattr(compose_file, "password_of", lambda _: "it's $secret")
    engine = cast(Any, Engine())
    nodes = {"A": LndNode("A", spec(), engine), "B": Calling("B", spec(), engine)}

    class Made(dict[str, Any]):
        name, folder = "x", tmp_path / "a 'folder'"
        phones: dict[str, Any] = {}  # noqa: RUF012

        def __missing__(self, name: str) -> Any:
            raise TestbedError(f"testbed x has no node {name}")

    made = Made(nodes)
    made.engine = engine  # type: ignore[attr-defined]
    return cast(Testbed, made)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with the user's own lncli, lightning-cli and bitcoin-cli, which print what they are called with."""
    folder = tmp_path / "own programs"
    folder.mkdir()
    for program in ("lncli", "lightning-cli", "bitcoin-cli"):
        (folder / program).write_text(f'#!/bin/sh\nprintf "%s\\n" "own {program}" "$@"\n')
        (folder / program).chmod(0o755)
    return folder


def in_a_shell(found: Environment, command: str, path: str) -> subprocess.CompletedProcess[str]:
    whole = f"{found.as_shell()}\n{command}"
    return subprocess.run(
        ["/bin/sh", "-c", whole], env={"PATH": path}, capture_output=True, text=True, check=False, timeout=20
    )


def test_the_users_own_programs_are_called_with_the_nodes_address(testbed: Testbed, own: Path) -> None:
    path = f"{own}:/usr/bin:/bin"
    folder = testbed.folder / "env"
    lnd = environment(testbed, "A")
    said = in_a_shell(lnd, 'lncli getinfo "two words"', path)
    assert said.stdout.splitlines() == [
        "own lncli",
        "--network=regtest",
        "--rpcserver=127.0.0.1:10010",
        f"--tlscertpath={folder}/A/tls.cert",
        f"--macaroonpath={folder}/A/admin.macaroon",
        "getinfo",
        "two words",
    ]
    assert "-rpcpassword=it's $secret" in in_a_shell(lnd, "bitcoin-cli getblockcount", path).stdout.splitlines()
    cln = environment(testbed, "B")
    said = in_a_shell(cln, "env lightning-cli getinfo", path)
    assert said.stdout.splitlines() == ["own lightning-cli", "--rpc-file=/state/sockets/B/rpc.sock", "getinfo"]
    assert in_a_shell(environment(testbed, "bitcoind"), "bitcoin-cli -getinfo", path).stdout.startswith(
        "own bitcoin-cli"
    )


def test_one_node_after_the_other_in_the_same_shell(testbed: Testbed, own: Path) -> None:
    first, second = environment(testbed, "A").as_shell(), environment(testbed, "A")
    said = in_a_shell(second, "lncli getinfo", f"{own}:/usr/bin:/bin")
    twice = subprocess.run(
        ["/bin/sh", "-c", f"{first}\n{second.as_shell()}\nlncli getinfo"],
        env={"PATH": f"{own}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert twice.stdout == said.stdout, "our own script is passed over in PATH"


def test_a_program_that_is_not_installed_is_a_sentence(testbed: Testbed) -> None:
    said = in_a_shell(environment(testbed, "A"), "lncli getinfo", "/usr/bin:/bin")
    assert said.returncode == 127
    assert "lncli cannot be called: it is not on PATH. Install it, or use: testbed exec -t x A -- ..." in said.stderr


def test_what_lets_a_program_in_is_for_its_owner_alone(testbed: Testbed) -> None:
    environment(testbed, "A")
    folder = testbed.folder / "env" / "A"
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert os.stat(folder / "admin.macaroon").st_mode & 0o777 == 0o600


def test_lndconnect(testbed: Testbed) -> None:
    address, _, query = environment(testbed, "A").variables["LNDCONNECT"].partition("?")
    assert address == "lndconnect://127.0.0.1:10010"
    values = dict(each.split("=") for each in query.split("&"))

    def decoded(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    assert decoded(values["macaroon"]) == b"\xfb\xff macaroon"
    assert decoded(values["cert"])[:1] == b"\x30", "a DER sequence"


def test_rest_is_told_where_it_was_chosen(testbed: Testbed) -> None:
    for name in ("A", "B"):
        assert not any("REST" in variable for variable in environment(testbed, name).variables)
        testbed[name].spec = spec(rest=True)
    lnd, cln = (environment(testbed, name).variables for name in ("A", "B"))
    assert (lnd["LND_REST"], cln["CLN_REST"], cln["CLN_RUNE"]) == (
        "https://127.0.0.1:8181",
        "https://127.0.0.1:8181",
        "cnVuZQ==",
    )
    assert lnd["LNDCONNECT_REST"].startswith("lndconnect://127.0.0.1:8181?cert=")


@pytest.mark.parametrize(("implementation", "flag"), [(LndNode, "--restlisten="), (ClnNode, "--clnrest-port=")])
def test_a_node_has_rest_by_choice(implementation: Any, flag: str) -> None:
    around = SimpleNamespace(image="i", rpc_user="u", rpc_password="p", rpc_port=1, sockets=Path("/s"))
    plain, chosen = (implementation.service("A", spec(rest), cast(Any, around)) for rest in (False, True))
    assert not any(word.startswith(flag) for word in plain["command"])
    assert any(word.startswith(flag) for word in chosen["command"])
    assert not {"--norest", "--disable-plugin=clnrest"} & set(chosen["command"])
    assert "127.0.0.1::8180" in chosen["ports"]
    assert "127.0.0.1::8180" not in plain.get("ports", [])


def test_a_stranger_is_refused(testbed: Testbed) -> None:
    with pytest.raises(TestbedError, match="has no node C"):
        host_access.environment(testbed, "C")
