"""The testbed's gRPC connection to one LND, made when it is needed.

LND's certificate and macaroon are read from its container. That takes dockerd a process and a tenth of a second each,
for every command of `testbed`; so they are kept in the testbed's folder, until the container is started again.
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


@dataclass(frozen=True)
class Credentials:
    """How an LND is reached. address: host:port; certificate: PEM; macaroon: the file's raw bytes."""

    address: str
    certificate: bytes
    macaroon: bytes


@dataclass(frozen=True)
class _Open:
    """A connection, and what its calls are made with."""

    channel: grpc.Channel
    calls: grpc.Channel
    lightning: LightningStub
    kept: bool
    """Whether its credentials were read before; those may be outdated."""


class LndConnection:
    """The connection to one LND. Safe to use from several threads, as are those to other LNDs at the same time.

    port, certificate, macaroon: where gRPC and the two files are in its container.
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
        """What stubs are made of. Raises NodeError if the container does not run, or has no certificate yet."""
        return self._opened().calls

    @property
    def lightning(self) -> LightningStub:
        """The calls of the service Lightning. Raises NodeError as `calls` does."""
        return self._opened().lightning

    def forget(self) -> None:
        """Close it; the next call makes a new one."""
        with self._lock:
            if self._open is not None:
                self._open.channel.close()
            self._open = None

    def doubt(self) -> None:
        """A call has failed: if its credentials were kept ones, the next call reads them again from the container."""
        with self._lock:
            if self._open is not None and self._open.kept:
                self._file.unlink(missing_ok=True)
                self._open = None  # and not closed, for other threads may be in calls of it

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
        found = kept or Credentials(address, *(self._engine.read(self._name, path) for path in self._files))
        if kept is None:
            _write(self._file, found)
        channel = grpc.secure_channel(address, connection.credentials(found.certificate), connection.OPTIONS)
        calls = connection.with_macaroon(channel, found.macaroon)
        return _Open(channel, calls, LightningStub(calls), kept is not None)


def _read(file: Path, address: str) -> Credentials | None:
    """What was kept, if it was read since the container was started last: each start gives it another port."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["address"] != address:
            return None
        return Credentials(address, kept["certificate"].encode(), base64.b64decode(kept["macaroon"], validate=True))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _write(file: Path, found: Credentials) -> None:
    """Keep them, if there is room. The file is there as a whole or not at all, and for this user alone."""
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
