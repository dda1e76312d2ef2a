"""The component beside a node: its configuration, and what the harness reads out of it."""

import json
import socket
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from asyncpay import config
from asyncpay.engine.policy import LspPolicy
from harness.engines.base import EngineError, Output
from harness.errors import NodeError
from harness.nodes.cln import ClnNode
from harness.nodes.lnd import LndNode
from harness.services import lsp
from harness.services.lsp import Lsp, htlcs_held, interceptor_attached
from harness.topology import ComponentSpec
from harness.waits import WaitTimeoutError, wait_for
from tests.unit.harness.played_engine import PlayedEngine, Service


class Answering(PlayedEngine):
    """An engine in which a command prints what it is told to, or nothing runs."""

    def __init__(self, said: Output | None) -> None:
        super().__init__({"LSP-lsp": Service()})
        self.said = said
        self.commands: list[list[str]] = []

    def output(self, service: str, command: Any) -> Output:
        assert service == "LSP-lsp"
        self.commands.append(list(command))
        if self.said is None:
            raise EngineError("LSP-lsp cannot run that: the container is not running")
        return self.said


def telling(**status: Any) -> Lsp:
    return Lsp("LSP", Answering(Output(json.dumps(status), "")))


def part(**differences: Any) -> dict[str, Any]:
    return {"intercepted": True, "resolution": None} | differences


def missing(predicate: Any) -> str:
    with pytest.raises(WaitTimeoutError) as caught:
        wait_for(predicate, timeout_seconds=0.01, interval_seconds=0.001)
    return str(caught.value)


def test_the_configuration_is_what_asyncpay_reads(tmp_path: Path) -> None:
    policy = LspPolicy(max_holds=3, wake_timeout_seconds=1.5)
    (tmp_path / "lsp.toml").write_text(
        lsp.configuration("LSP_a", ComponentSpec(policy=policy, ca="a certificate"), LndNode), encoding="utf-8"
    )
    read = config.load(tmp_path / "lsp.toml", config.LspConfig)
    assert read.policy == policy
    assert read.webhooks.ca_file == Path(lsp.CA_FILE)
    assert isinstance(read.node, config.LndConfig)
    assert read.node.address == "LSP_a:10009"
    assert (read.node.macaroon, read.node.tls_certificate) == (Path("/node/admin.macaroon"), Path("/node/tls.cert"))
    assert read.store.path.parent == Path("/data")


def test_beside_core_lightning_it_is_the_socket_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "lsp.toml").write_text(lsp.configuration("LSP_a", ComponentSpec(), ClnNode), encoding="utf-8")
    read = config.load(tmp_path / "lsp.toml", config.LspConfig)
    assert isinstance(read.node, config.ClnConfig)
    folder = ClnNode.shared("LSP_a", lsp.NODE_DIR, Path("/sockets/LSP_a"))
    assert folder["source"] == "/sockets/LSP_a"
    assert str(read.node.rpc_file.parent) == folder["target"]


def test_limits_left_alone_are_left_to_the_component() -> None:
    written = tomllib.loads(lsp.configuration("LSP_a", ComponentSpec(policy=LspPolicy(max_holds=3)), LndNode))
    assert written["policy"] == {"max_holds": 3}


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        pytest.param(None, "container is not running", id="container away"),
        pytest.param(Output("", "error: no LSP answers at /data/x"), "error: no LSP answers", id="component away"),
    ],
)
def test_a_component_that_does_not_answer_is_something_to_wait_for(said: Output | None, complaint: str) -> None:
    component = Lsp("LSP", Answering(said))
    with pytest.raises(NodeError, match=complaint):
        component.status()
    assert complaint in missing(interceptor_attached(component))


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        pytest.param(b'{"result": {"blocks": []}}\n', "", id="a status"),
        pytest.param(b'{"error": "it waits for its node"}\n', "it waits for its node", id="an error"),
        pytest.param(b"", "it ended before it answered", id="nothing"),
        pytest.param(None, "No such file", id="no component"),
    ],
)
def test_the_status_is_asked_for_as_the_command_line_does(tmp_path: Path, answer: bytes | None, complaint: str) -> None:
    path = tmp_path / "sock"
    if answer is None:
        done = subprocess.run([*lsp.ASK_STATUS[:-1], path], capture_output=True, text=True, check=False)
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            asking = subprocess.Popen(
                [*lsp.ASK_STATUS[:-1], path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            connection, _ = listener.accept()
            with connection:
                request = json.loads(connection.makefile().readline())
                connection.sendall(answer)
        assert request == {"verb": "status", "arguments": {}}
        done = subprocess.CompletedProcess([], 0, *asking.communicate())
    component = Lsp("LSP", Answering(Output(done.stdout, done.stderr)))
    if complaint:
        with pytest.raises(NodeError, match=complaint):
            component.status()
    else:
        assert component.status() == {"blocks": []}


def test_a_component_of_somebody_s_own_is_asked_by_its_command_line() -> None:
    engine = Answering(Output("{}", ""))
    assert Lsp("LSP", engine, "mine:1").status() == Lsp("LSP", engine).status() == {}
    assert [command[:3] for command in engine.commands] == [["asyncpay", "lsp", "status"], ["python3", "-I", "-S"]]


def test_attached() -> None:
    wait_for(interceptor_attached(telling(node={"attached": True}, last_errors=[])))
    errors = [{"what": "the node is away", "because": because} for because in ("refused", "it starts")]
    seen = missing(interceptor_attached(telling(node={"attached": False}, last_errors=errors)))
    assert seen.endswith("LSP-lsp is not attached to LSP (the node is away: it starts)")


def test_held_are_those_on_offer_without_an_answer() -> None:
    answered, away = part(resolution="resume"), part(intercepted=False)
    component = telling(blocks=[{"parts": [part(), answered]}, {"parts": [part(), away]}, {"parts": []}])
    wait_for(htlcs_held(component, 2))
    assert "LSP-lsp holds 2 of 3 HTLCs" in missing(htlcs_held(component, 3))
    assert "LSP-lsp holds 2 of 1 HTLCs" in missing(htlcs_held(component, 1))
