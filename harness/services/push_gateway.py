"""The push gateway of a testbed: a container that receives LSPs' notifications, and pushes them to phones.

Its certificate is from the testbed's own CA, which the LSPs' components trust.
"""

import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.engines.base import Engine, EngineError
from harness.errors import NodeError, TestbedError
from harness.inside.interface import PUSH_CONFIG_VARIABLE, Behaviour, Push, PushConfig
from harness.nodes.base import volume

NAME = "push"
PORT = 443
CONFIG, CERTIFICATE, DATA_DIR = "/etc/push/config.json", "/etc/push/server.pem", "/data"
CALL_SECONDS = 10
MOST_BLOCKS = 10_000_000
"""A greater number is not a plausible block height."""
ON_THIS_MACHINE = "127.0.0.1"


class PrivacyError(TestbedError):
    """A push contains more than the reason for the notification; the message quotes it."""


@dataclass(frozen=True)
class Authority:
    """A certificate authority. ca: its certificate; server: certificate and key of its only server. Both PEM."""

    ca: str
    server: str

    @classmethod
    def for_server(cls, host: str) -> "Authority":
        """Create an authority and a certificate for a server with this name, which is also valid for 127.0.0.1.

        The authority's own key is not kept, so it cannot issue a second certificate.
        """
        import trustme  # needed only when a testbed is created

        authority = trustme.CA(organization_name="a testbed", path_length=0)
        certificate = authority.issue_cert(host, ON_THIS_MACHINE, common_name=host)
        return cls(authority.cert_pem.bytes().decode(), certificate.private_key_and_cert_chain_pem.bytes().decode())


def service(image: str) -> dict[str, Any]:
    """The gateway's compose service."""
    return {
        "image": image,
        "entrypoint": ["python3", "-m", "harness.inside.push_gateway"],
        "command": [],
        "configs": [
            {"source": NAME, "target": CONFIG},
            {"source": f"{NAME}-certificate", "target": CERTIFICATE},
        ],
        "environment": {PUSH_CONFIG_VARIABLE: CONFIG},
        "volumes": [volume(NAME, DATA_DIR)],
        "ports": [f"{ON_THIS_MACHINE}::{PORT}"],
        "stop_grace_period": "5s",
    }


def files(phones: Mapping[str, str], authority: Authority) -> dict[str, str]:
    """Return the gateway's configuration files, by the name of the compose config. phones: host:port of each."""
    urls = {name: f"http://{address}/push" for name, address in phones.items()}
    config = PushConfig(port=PORT, certificate=CERTIFICATE, state=f"{DATA_DIR}/state.json", phones=urls)
    return {NAME: config.model_dump_json(indent=2), f"{NAME}-certificate": authority.server}


class PushGateway:
    """The running gateway. Every call raises NodeError if it does not answer or refuses."""

    def __init__(self, engine: Engine, ca: str) -> None:
        self._engine = engine
        self._ca = ca

    def subscribe(self, phone: str, lsp_id: str) -> str:
        """Return a new webhook URL for this phone, to be registered with its LSP (node id in hex)."""
        return f"https://{NAME}/{self._call('POST', 'subscriptions', {'phone': phone, 'lsp': lsp_id})['token']}"

    def pushes(self, phone: str | None = None) -> list[Push]:
        """Return all notifications that LSPs have posted, oldest first; only those for one phone if it is named."""
        seen = [Push.model_validate(push) for push in self._call("GET", "pushes")]
        return [push for push in seen if phone in (None, push.phone)]

    def answer(self, behaviour: Behaviour) -> None:
        """Set how LSPs are answered from now on: normally, or like by a broken gateway."""
        with self._engine.actions.recording("answer", NAME, arguments=[behaviour.value]):
            self._call("POST", "behaviour", {"answer": behaviour.value})

    def _call(self, verb: str, path: str, body: Any = None) -> Any:
        import httpx  # requests accepts a certificate only from a file

        tls = ssl.create_default_context(cadata=self._ca)
        try:
            url = f"https://{self._engine.address(NAME, PORT)}/{path}"
            answer = httpx.request(verb, url, json=body, verify=tls, timeout=CALL_SECONDS, trust_env=False)
            answer.raise_for_status()
            return answer.json()
        except httpx.HTTPStatusError as error:
            raise NodeError(f"the push gateway refuses {verb} /{path}: {error.response.text}") from None
        except (httpx.HTTPError, EngineError) as error:
            raise NodeError(f"the push gateway does not answer: {error}") from None


def check_privacy(pushes: Iterable[Push]) -> None:
    """Check that no push contains a hash, an amount or a node id, nor anything but the reason for the notification.

    Raises PrivacyError.
    """
    from asyncpay.engine.lsp.records import Method  # here, because every command loads this file
    from asyncpay.lsps.notifications import WEBHOOK_REGISTERED

    # The parameters that each method may have: `timeout` is a block height.
    may_be_said: dict[str, set[str]] = {WEBHOOK_REGISTERED: set()} | {
        method.value: {"timeout"} if method is Method.EXPIRY_SOON else set() for method in Method
    }
    for push in pushes:
        try:
            said = json.loads(push.body)
            method, params = said["method"], said["params"]
            harmless = said.keys() == {"jsonrpc", "method", "params"} and params.keys() <= may_be_said[method]
            harmless = harmless and all(0 <= height < MOST_BLOCKS for height in params.values())
        except (ValueError, LookupError, TypeError, AttributeError):
            harmless = False
        if not harmless:
            raise PrivacyError(f"a push to {push.phone} contains more than its reason: {push.body}")
