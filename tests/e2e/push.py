"""Where the phones' notifications arrive: an HTTPS server in a container of the testbed's network."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from docker.models.containers import Container

from harness.containers import PROJECT_LABEL, SERVICE_LABEL
from harness.testbed import Testbed

HOST = "push.testbed"
IMPOSTOR = "impostor.testbed"
"""The same server by a name that its certificate does not have."""
LOOK_OF_A_SERVICE = {
    SERVICE_LABEL: "push",
    "com.docker.compose.oneoff": "False",
    "com.docker.compose.config-hash": "none",
}
"""By these `docker compose down` knows what to remove: a server that was left behind goes with its testbed."""
PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Authority:
    """ca: its certificate; server: certificate and key for HOST. Both PEM."""

    ca: str
    server: str


def make_authority() -> Authority:
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("authority of a testbed")
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = _certificate(ca_name, ca_key.public_key(), ca_name).add_extension(
        x509.BasicConstraints(True, 0), critical=True
    )
    ca = ca.add_extension(_MAY_SIGN_CERTIFICATES, critical=True).add_extension(ca_id, critical=False)
    server = (
        _certificate(_name(HOST), key.public_key(), ca_name)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
    )
    key_pem = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    ca_pem, server_pem = (each.sign(ca_key, hashes.SHA256()).public_bytes(PEM).decode() for each in (ca, server))
    return Authority(ca_pem, server_pem + key_pem.decode())


_MAY_SIGN_CERTIFICATES = x509.KeyUsage(False, False, False, False, False, True, True, False, False)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(name: x509.Name, key: ec.EllipticCurvePublicKey, issuer: x509.Name) -> x509.CertificateBuilder:
    now, day = datetime.now(UTC), timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).public_key(key).issuer_name(issuer)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)


@dataclass(frozen=True)
class Post:
    """headers: names as they were sent."""

    path: str
    headers: dict[str, str]
    body: str


class PushServer:
    """The running server. Its posts are kept by the engine, so that it may be stopped and started."""

    def __init__(self, container: Container) -> None:
        self.container = container

    def posts(self, path: str) -> list[Post]:
        """What was posted to this path so far."""
        posts = [Post(**json.loads(line)) for line in self.container.logs(stderr=False).splitlines()]
        return [post for post in posts if post.path == path]


@contextmanager
def serving(testbed: Testbed, authority: Authority, image_of: str) -> Iterator[PushServer]:
    """Run the server in the image that the service `image_of` has: any with Python."""
    containers = testbed.containers
    network = f"{containers.project}_default"
    api = containers.engine.api
    names = api.create_endpoint_config(aliases=[HOST, IMPOSTOR])
    created = api.create_container(
        containers.container(image_of).attrs["Config"]["Image"],
        entrypoint=["python3", "-c", Path(__file__).with_name("push_server.py").read_text(encoding="utf-8")],
        environment={"SERVER_PEM": authority.server},
        user="0:0",
        labels=LOOK_OF_A_SERVICE | {PROJECT_LABEL: containers.project},
        networking_config=api.create_networking_config({network: names}),
    )
    container = containers.engine.containers.get(created["Id"])
    container.start()
    try:
        yield PushServer(container)
    finally:
        container.remove(force=True, v=True)
