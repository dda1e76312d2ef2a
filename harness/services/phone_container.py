"""A phone in the testbed: one container whose apps are a node and its wallet, run by harness/inside/phone.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import tomli_w

from asyncpay.service.common import failpoints
from harness.engines.base import Engine, EngineError
from harness.errors import NodeError
from harness.inside.interface import PHONE_CONFIG_VARIABLE, AppSpec, PhoneConfig, PhoneState
from harness.nodes.base import Node, volume
from harness.services import local_http
from harness.services.answers import cleaned
from harness.topology import WALLET_SUFFIX, WalletSpec
from harness.waits import Predicate

PORT = 8080
"""The port on which a phone's init accepts pushes and commands."""
DATA_DIR = "/data"
STORE = f"{DATA_DIR}/wallet.sqlite"
CONFIG = "/etc/phone.json"
WALLET_CONFIG = "/etc/asyncpay/wallet.toml"
WALLET_VARIABLE = "ASYNCPAY_WALLET_CONFIG"
WALLET_CLI = ("asyncpay", "wallet")
"""The wallet's CLI command inside the phone, without arguments: its environment names the configuration."""
NODE, WALLET = "node", "wallet"
"""The apps' names."""
NODE_STOP_SECONDS, WALLET_STOP_SECONDS = 30, 10
WALLET_REFUSES_EXIT = 2
"""The exit code of a wallet whose arguments or configuration are invalid."""
CALL_SECONDS = NODE_STOP_SECONDS + WALLET_STOP_SECONDS + 10


def wallet_name(phone: str) -> str:
    """Return the wallet's name in places where the phone's own name means its node."""
    return phone + WALLET_SUFFIX


def service(name: str, node: dict[str, Any], image: str) -> dict[str, Any]:
    """The phone's compose service, made from that of its node."""
    return node | {
        "image": image,
        "entrypoint": ["python3", "-m", "harness.inside.phone"],
        "command": [],
        "configs": [
            {"source": f"{name}-phone", "target": CONFIG},
            {"source": wallet_name(name), "target": WALLET_CONFIG},
        ],
        "environment": {PHONE_CONFIG_VARIABLE: CONFIG, WALLET_VARIABLE: WALLET_CONFIG, failpoints.VARIABLE: "1"},
        "volumes": [*node["volumes"], volume(wallet_name(name), DATA_DIR)],
        "ports": [*node.get("ports", []), f"127.0.0.1::{PORT}"],
        "stop_grace_period": f"{NODE_STOP_SECONDS + WALLET_STOP_SECONDS + 5}s",
    }


def files(name: str, spec: WalletSpec, of_node: type[Node], node: dict[str, Any], lsp_address: str) -> dict[str, str]:
    """Return the phone's configuration files, by the name of the compose config.

    node: the node's own compose service. lsp_address: the address at which it dials its LSP.
    """
    apps = PhoneConfig(
        port=PORT,
        apps=(
            AppSpec(
                name=NODE,
                command=(*node["entrypoint"], *node["command"]),
                stop_command=of_node.stop_command,
                stop_seconds=NODE_STOP_SECONDS,
            ),
            AppSpec(
                name=WALLET,
                command=(*WALLET_CLI, "run", *spec.args),
                stop_seconds=WALLET_STOP_SECONDS,
                final_exits=(WALLET_REFUSES_EXIT,),
                control=Path(f"{STORE}.sock"),
                output="stdout",
            ),
        ),
    )
    sections: dict[str, dict[str, Any]] = {
        "node": of_node.access("localhost", of_node.folder),
        "store": {"path": STORE},
        "lsp": {"address": lsp_address},
        "policy": spec.policy,
    }
    return {
        f"{name}-phone": apps.model_dump_json(indent=2),
        wallet_name(name): tomli_w.dumps({section: values for section, values in sections.items() if values}),
    }


class PhoneContainer:
    """A phone's init. Every call raises NodeError if it does not answer or refuses."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self._engine = engine

    def status(self) -> dict[str, Any]:
        """state: see `PhoneState`; apps: name, pid, process_states, starts, last_exit, stays_down, gave_up of each."""
        return self._call("GET", "status")

    def do(self, verb: str) -> None:
        """Send one of sleep, wake, freeze, unfreeze."""
        self._call("POST", verb)

    def push(self, method: str) -> None:
        """Send a push, like the push gateway. It wakes a sleeping phone."""
        self._call("POST", "push", {"method": method})

    def network_is_back(self) -> None:
        """Notify the apps that the phone has a network again, like a phone's operating system."""
        self._call("POST", "online")

    def do_to_app(self, app: str, verb: str) -> None:
        """Apply stop, kill, start or crash to one app."""
        self._call("POST", f"apps/{app}/{verb}")

    def ask(self, app: str, verb: str) -> Any:
        """Return an app's answer to a query without arguments."""
        return self._call("GET", f"apps/{app}/answers/{verb}")

    def _call(self, verb: str, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        try:
            url = f"http://{self._engine.address(self.name, PORT)}/{path}"
            answer = local_http.call(verb, url, timeout_seconds=CALL_SECONDS, body=body)
            said: dict[str, Any] = cleaned(answer.json())
        except (requests.RequestException, ValueError, EngineError) as error:
            raise NodeError(f"the phone {self.name} does not answer: {error}") from None
        if not answer.ok:
            raise NodeError(f"{self.name} cannot {path}: {said['error']}")
        return said


def apps_running(phone: PhoneContainer) -> Predicate:
    """The phone is awake, and every app that was not stopped explicitly has a process that is not suspended."""
    return _apps(
        "apps_running", phone, PhoneState.AWAKE, lambda app: bool(app["pid"]) and "T" not in app["process_states"]
    )


def apps_stopped(phone: PhoneContainer) -> Predicate:
    """The phone is asleep, and no app has a process."""
    return _apps("apps_stopped", phone, PhoneState.ASLEEP, lambda app: not app["pid"])


def apps_suspended(phone: PhoneContainer) -> Predicate:
    """The phone is frozen, and every process of its apps is suspended."""
    return _apps("apps_suspended", phone, PhoneState.FROZEN, lambda app: app["process_states"] in ("T", ""))


def _apps(
    name: str, phone: PhoneContainer, state: PhoneState, as_wanted: Callable[[dict[str, Any]], bool]
) -> Predicate:
    def missing() -> str | None:
        seen = phone.status()
        others = [app for app in seen["apps"] if not (as_wanted(app) or app["stays_down"])]
        if seen["state"] == state and not others:
            return None
        apps = ", ".join(f"its {app['name']} {'runs' if app['pid'] else 'does not run'}" for app in others)
        return f"{phone.name} is {seen['state']}" + (f", {apps}" if apps else "")

    return Predicate(name, missing)


def half_open(phone: PhoneContainer, node: Node, peer: Node) -> Predicate:
    """The phone's processes are suspended, and the node still lists it as its peer: TCP is half-open."""

    def missing() -> str | None:
        if suspended := apps_suspended(phone).missing():
            return suspended
        return None if peer.node_id in node.peers() else f"{node.name} has noticed that {peer.name} is gone"

    return Predicate("half_open", missing)
