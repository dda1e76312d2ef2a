"""A real HTTPS server on loopback, with an authority of its own, that answers as a test wants."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAME = "push.test"
ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Authority:
    """ca_file: its certificate. server_file: certificate and key for NAME and ADDRESSES."""

    ca_file: Path
    server_file: Path


def make_authority(folder: Path) -> Authority:
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {folder.name}")])
    now = datetime.now(UTC)

    def certificate(subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )

    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    ca = (
        certificate(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names = [x509.DNSName(NAME), *(x509.IPAddress(ip_address(each)) for each in ADDRESSES)]
    server = (
        certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)]), key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain_key = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    folder.mkdir(exist_ok=True)
    authority = Authority(folder / "ca.pem", folder / "server.pem")
    authority.ca_file.write_bytes(ca.public_bytes(pem))
    authority.server_file.write_bytes(server.public_bytes(pem) + plain_key)
    return authority


@dataclass
class Server:
    """port: on each of its addresses. connections: TCP ones, also those that never became TLS.

    requests: what was read before the server answered. names: what TLS clients asked for.
    """

    port: int
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def serve(
    authority: Authority | None, behaviour: Behaviour, address: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Server]:
    """Without an authority it speaks no TLS, and `behaviour` begins at once; otherwise after a whole request."""
    seen = Server(port)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                if authority is not None:
                    await writer.start_tls(_context(authority, seen))
                    seen.requests.append(await _read_request(reader))
                await behaviour(reader, writer)
                await reader.read()  # until the other side hangs up
            seen.hung_up.set()
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, address, port)
    seen.port = listening.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        listening.close()


def answer(text: str) -> Behaviour:
    """Answer with this status line, headers and body."""

    async def behaviour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text.replace("\n", "\r\n").encode())
        await writer.drain()

    return behaviour


def answer_without_end(first: str, then: str) -> Behaviour:
    """Answer with `first`, and then with `then` for as long as anybody takes it."""

    async def behaviour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first.replace("\n", "\r\n").encode())
        while not writer.is_closing():
            writer.write(then.replace("\n", "\r\n").encode())
            await writer.drain()
            await asyncio.sleep(0)  # where TLS has lost its connection, drain neither waits nor raises before a turn

    return behaviour


async def say_nothing(_: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Hang."""


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close the connection without a word."""
    writer.close()


def _context(authority: Authority, seen: Server) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server_file)
    context.sni_callback = lambda _socket, name, _context: seen.names.append(name)
    return context


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return head + await reader.readexactly(int(length.partition(b":")[2]))
