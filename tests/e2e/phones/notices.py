"""Notifications made by tests: genuine ones, which only the LSP's node can sign, and forged ones."""

import json
import ssl
import time
from dataclasses import dataclass

import httpx

from asyncpay.lsps import notifications
from asyncpay.lsps.notifications import SIGNATURE_HEADER, TIMESTAMP_HEADER, Notification
from harness import compose_file
from harness.services import push_gateway
from harness.testbed import Testbed


@dataclass(frozen=True)
class Notice:
    """A post to a webhook."""

    headers: dict[str, str]
    body: str


def notice(testbed: Testbed, method: str, signed_by: str = "LSP", age_seconds: float = 0) -> Notice:
    """Return a notification signed by this node, with a timestamp of this age."""
    when = notifications.timestamp(int((time.time() - age_seconds) * 1_000))
    body = Notification.of(method).body()
    text = notifications.signed_text(when, body)
    said = testbed.engine.output(signed_by, [*testbed.cli(signed_by), "signmessage", text])
    assert said.stdout, f"{signed_by} did not sign: exit code {said.exit_code}, {said.stderr!r}"
    return Notice({TIMESTAMP_HEADER: when, SIGNATURE_HEADER: json.loads(said.stdout)["signature"]}, body)


def post(testbed: Testbed, webhook: str, notice: Notice) -> int:
    """Post it like an LSP, through the gateway's port on this machine. Return the response's status."""
    address = testbed.engine.address(push_gateway.NAME, push_gateway.PORT)
    url = webhook.replace(f"https://{push_gateway.NAME}/", f"https://{address}/")
    tls = ssl.create_default_context(cadata=compose_file.ca_of(testbed.engine.compose_file))
    return httpx.post(url, headers=notice.headers, content=notice.body, verify=tls, trust_env=False).status_code
