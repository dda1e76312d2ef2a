"""The LSP's component in the testbed: in its own container, as an LSP would install it in production."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from asyncpay.engine.policy import LspPolicy
from asyncpay.service.common import failpoints
from harness.engines.base import Engine, EngineError, json_lines
from harness.errors import NodeError
from harness.nodes.base import Node, volume
from harness.services.answers import cleaned
from harness.topology import ASYNCPAY, COMPONENT_SUFFIX, ComponentSpec
from harness.waits import Predicate

NODE_DIR = "/node"
"""The mount point of the node's own folder, read-only, if the node shares it."""
DATA_DIR = "/data"
CONFIG = "/etc/asyncpay/lsp.toml"
CA_FILE = "/etc/asyncpay/ca.pem"
CLI = ("asyncpay", "lsp")
"""The component's CLI command inside its container, without arguments."""
STORE = f"{DATA_DIR}/lsp.sqlite"
_ASK = """
import json, socket, sys
with socket.socket(socket.AF_UNIX) as component:
    component.connect(sys.argv[1])
    component.sendall(b'{"verb": "status", "arguments": {}}\\n')
    answer = json.loads(component.makefile(encoding="utf-8").read() or '{"error": "it ended before it answered"}')
print(json.dumps(answer["result"]) if "result" in answer else sys.exit(answer["error"]))
"""
ASK_STATUS = ("python3", "-I", "-S", "-c", _ASK, f"{STORE}.sock")
"""The equivalent of `status --json`, in our own image. Waits query it often, and the command line takes half a second
of CPU time to start.
"""
METRICS_PORT = 9464
"""The port of its Prometheus endpoint, on the loopback interface of its container."""
_ASK_METRICS = f"""
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:{METRICS_PORT}/metrics", timeout=10).read().decode())
"""
CONFIG_VARIABLE = "ASYNCPAY_LSP_CONFIG"
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
"""The networks that Docker may use for the testbed, and therefore for the webhooks of its phones."""


def service_name(node: str) -> str:
    """Return the name of the compose service, container and volume of this node's component."""
    return node + COMPONENT_SUFFIX


def service(node: str, spec: ComponentSpec, image: str, of_node: type[Node], sockets: Path) -> dict[str, Any]:
    """The component's compose service. It may start before its node answers, and outlives the node's restarts."""
    name = service_name(node)
    return {
        "image": image,
        "entrypoint": [*CLI, "--config", CONFIG],
        "command": list(spec.args),
        "depends_on": [node],
        "configs": [{"source": source, "target": target} for source, (target, _) in files(node, spec, of_node).items()],
        "environment": {CONFIG_VARIABLE: CONFIG, failpoints.VARIABLE: "1"},  # the first is for manual use of the CLI
        "volumes": [of_node.shared(node, NODE_DIR, sockets), volume(name, DATA_DIR)],
        "restart": "no",  # tests kill it and inspect its state
        "stop_grace_period": "10s",
        "healthcheck": {"test": ["CMD", *CLI, "health", "--config", CONFIG], "interval": "30s", "timeout": "10s"},
    }


def files(node: str, spec: ComponentSpec, of_node: type[Node]) -> dict[str, tuple[str, str]]:
    """The component's files: path and content, by the name of their compose config."""
    name = service_name(node)
    found = {name: (CONFIG, configuration(node, spec, of_node))}
    return found if spec.ca is None else found | {f"{name}-ca": (CA_FILE, spec.ca)}


def configuration(node: str, spec: ComponentSpec, of_node: type[Node]) -> str:
    """Return the component's TOML file, with the fields of the policy that differ from the defaults."""
    defaults = asdict(LspPolicy())
    trusted = {} if spec.ca is None else {"ca_file": CA_FILE}
    sections: dict[str, dict[str, Any]] = {
        "node": of_node.access(node, NODE_DIR),
        "store": {"path": STORE},
        "webhooks": {"allowed_networks": PRIVATE_NETWORKS, **trusted},
        "policy": {name: value for name, value in asdict(spec.policy).items() if value != defaults[name]},
    }
    if spec.image == ASYNCPAY:
        sections["metrics"] = {"port": METRICS_PORT}
    return tomli_w.dumps(sections)


class Lsp:
    """One component. Calls raise NodeError if it does not answer, EngineError if a container operation fails.

    image: of its container, as in ComponentSpec. A user's own image needs only the command line.
    """

    def __init__(self, node: str, engine: Engine, image: str = ASYNCPAY) -> None:
        self.node = node
        self.name = service_name(node)
        self._engine = engine
        own_image = image != ASYNCPAY
        self._ask_status = (*CLI, "status", "--json", "--config", CONFIG) if own_image else ASK_STATUS

    def status(self) -> dict[str, Any]:
        """Return the output of `asyncpay lsp status --json`."""
        try:
            said = self._engine.output(self.name, self._ask_status)
        except EngineError as error:
            raise NodeError(str(error)) from None
        try:
            status: dict[str, Any] = cleaned(json.loads(said.stdout))
        except ValueError:
            raise NodeError(f"{self.name} does not report its status: {said.stderr.strip() or said.stdout!r}") from None
        return status

    def metrics(self) -> str:
        """Return its metrics in Prometheus' text format."""
        try:
            return self._engine.output(self.name, ("python3", "-I", "-S", "-c", _ASK_METRICS)).stdout
        except EngineError as error:
            raise NodeError(str(error)) from None

    def missing_to_be_attached(self, seen: dict[str, Any] | None = None) -> str | None:
        """Return None once it is attached to its node, otherwise its last error. Until then the node forwards no HTLC.

        seen: its status; None: query it.
        """
        status = self.status() if seen is None else seen
        if status["node"]["attached"]:
            return None
        last = next((f"{error['what']}: {error['because']}" for error in reversed(status["last_errors"])), "no error")
        return f"{self.name} is not attached to {self.node} ({last})"

    def events(self) -> list[dict[str, Any]]:
        """Return its event log since its container was created, oldest first, without lines truncated by SIGKILL."""
        return json_lines(self._engine.logs(self.name, stderr=False))

    def stop(self) -> None:
        """Send SIGTERM, and return when it has exited."""
        self._engine.stop(self.name)

    def kill(self) -> None:
        """Send SIGKILL, and return when it has exited."""
        self._engine.kill(self.name)

    def start(self) -> None:
        """Start it again, with its existing store. It is not attached yet (see `interceptor_attached`)."""
        self._engine.start(self.name)


def interceptor_attached(lsp: Lsp) -> Predicate:
    """The LSP's component is attached to its node, which forwards HTLCs from now on."""
    return Predicate("interceptor_attached", lsp.missing_to_be_attached)


def htlcs_held(lsp: Lsp, parts: int) -> Predicate:
    """The LSP holds exactly this many HTLCs under blocks: intercepted at its node, and not resolved."""

    def missing() -> str | None:
        held = sum(
            part["intercepted"] and part["resolution"] is None
            for block in lsp.status()["blocks"]
            for part in block["parts"]
        )
        return None if held == parts else f"{lsp.name} holds {held} of {parts} HTLCs"

    return Predicate("htlcs_held", missing)
