"""The testbed's gRPC connection to one LND, made when it is needed.

LND's certificate and macaroon are read from its container. That costs dockerd a process and a tenth of a second each,
for every command of `testbed`; so they are cached in the testbed's folder, until the container is restarted.
"""

import base64
import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc

from asyncpay.nodes.lnd import connection
from asyncpay.nodes.proto.lightning_pb2_grpc import LightningStub
from harness.engines.base import Engine, EngineError
from harness.errors import NodeError
from harness.folders import CREDENTIALS, PART

MOST_BYTES = 64_000
"""More than a certificate or a macaroon has."""


@dataclass(frozen=True)
class Credentials:
    """The address and credentials of an LND. address: host:port; certificate: PEM; macaroon: the file's raw bytes."""

    address: str
    certificate: bytes
    macaroon: bytes


@dataclass(frozen=True)
class _Open:
    """An open connection, and the stubs for its calls."""

    channel: grpc.Channel
    calls: grpc.Channel
    lightning: LightningStub
    kept: bool
    """Whether its credentials are from the cache; they may be outdated."""


class LndConnection:
    """The connection to one LND. Safe to use from several threads, also together with those to other LNDs.

    port, certificate, macaroon: the gRPC port and the paths of the two files in its container.
    """

    def __init__(self, name: str, engine: Engine, port: int, certificate: str, macaroon: str) -> None:
        self._name = name
        self._engine = engine
        self._port = port
        self._files = certificate, macaroon
        self._lock = threading.Lock()
        self._open: _Open | None = None

    @property
    def calls(self) -> grpc.Channel:
        """The channel for stubs. Raises NodeError if the container does not run, or has no certificate yet."""
        return self._opened().calls

    @property
    def lightning(self) -> LightningStub:
        """The stub of the service Lightning. Raises NodeError like `calls`."""
        return self._opened().lightning

    def forget(self) -> None:
        """Close it; the next call makes a new one."""
        with self._lock:
            if self._open is not None:
                self._open.channel.close()
            self._open = None

    def doubt(self) -> None:
        """Handle a failed call: if its credentials were cached, the next call reads them from the container again."""
        with self._lock:
            if self._open is not None and self._open.kept:
                self._file.unlink(missing_ok=True)
                self._open = None  # not closed, because other threads may be using it

    @property
    def _file(self) -> Path:
        return self._engine.compose_file.with_name(CREDENTIALS) / f"{self._name}.json"

    def _opened(self) -> _Open:
        with self._lock:
            if self._open is None:
                try:
                    self._open = self._connect(self._engine.address(self._name, self._port))
                except EngineError as error:
                    raise NodeError(f"{self._name} cannot be reached: {error}") from None
            return self._open

    def _connect(self, address: str) -> _Open:
        kept = _read(self._file, address)
        found = kept or Credentials(address, *self._read_files())
        if kept is None:
            _write(self._file, found)
        channel = grpc.secure_channel(address, connection.credentials(found.certificate), connection.OPTIONS)
        calls = connection.with_macaroon(channel, found.macaroon)
        return _Open(channel, calls, LightningStub(calls), kept is not None)

    def _read_files(self) -> tuple[bytes, bytes]:
        """Return certificate and macaroon. They may come from a stranger's snapshot."""
        certificate, macaroon = (self._engine.read(self._name, path, MOST_BYTES) for path in self._files)
        if not certificate.isascii():
            raise NodeError(f"{self._name} cannot be reached: {self._files[0]} is not a certificate")
        return certificate, macaroon


def _read(file: Path, address: str) -> Credentials | None:
    """Return the cached credentials if they are newer than the container's last start, which changes its port."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["address"] != address:
            return None
        return Credentials(address, kept["certificate"].encode(), base64.b64decode(kept["macaroon"], validate=True))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _write(file: Path, found: Credentials) -> None:
    """Cache the credentials, if there is room. The file is written atomically, and readable only by this user."""
    part = file.with_name(f"{file.name}.{threading.get_native_id()}{PART}")
    content = {
        "address": found.address,
        "certificate": found.certificate.decode(),
        "macaroon": base64.b64encode(found.macaroon).decode(),
    }
    with suppress(OSError):
        file.parent.mkdir(exist_ok=True, mode=0o700)
        part.touch(mode=0o600)
        part.write_text(json.dumps(content), encoding="utf-8")
        part.replace(file)
