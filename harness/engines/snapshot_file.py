"""A snapshot as a file: a tar archive, compressed by gzip, with the facts first and then a folder for each volume.

Such a file may come from a stranger. Its header is checked here. The content of the folders is only written to volumes,
and so is read only by programs in containers.
"""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, BinaryIO

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness.engines.base import EngineError

HEAD_NAME = "snapshot.json"
MOST_HEAD_BYTES = 1_000_000
CHUNK_BYTES = 1 << 20
_LEVEL = 6
"""gzip's own default: higher levels take longer and save little."""


def volume_names(names: Any) -> list[str]:
    """Return the names. Raises ValueError unless all are valid names of volumes."""
    if isinstance(names, list) and all(isinstance(each, str) and re.fullmatch(r"[\w-]+", each) for each in names):
        return names
    raise ValueError("it does not name its volumes")


class Head(BaseModel):
    """The content of an archive other than the volumes; see SavedVolumes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(pattern=r"^[0-9a-f]{1,64}$")
    facts: str
    volumes: Annotated[list[str], AfterValidator(volume_names)]


def write(file: BinaryIO, head: Head, archive: Iterable[bytes]) -> None:
    """archive: a tar archive in pieces. Raises EngineError if the file cannot be written."""
    content = head.model_dump_json().encode()
    member = tarfile.TarInfo(HEAD_NAME)
    member.size = len(content)
    try:
        with gzip.open(file, "wb", _LEVEL) as packed:
            packed.write(member.tobuf())
            packed.write(content.ljust(_padded(len(content)), b"\0"))
            for piece in archive:
                packed.write(piece)
    except OSError as error:
        raise EngineError(f"the snapshot cannot be written: {error.strerror or error}") from None


def read(file: BinaryIO, most_bytes: int) -> tuple[Head, Iterator[bytes]]:
    """Return the head, and the rest of the archive in pieces. Raises EngineError if the file is not a snapshot; reading
    the pieces also raises it, and if they exceed `most_bytes`.
    """
    packed = gzip.GzipFile(fileobj=file, mode="rb")
    try:
        block = _exactly(packed, tarfile.BLOCKSIZE)
        member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if member.name != HEAD_NAME or not 0 < member.size <= MOST_HEAD_BYTES:
            raise EngineError("this file is not a snapshot. Use one from `testbed snapshot export`")
        content = _exactly(packed, _padded(member.size))[: member.size]
        return Head.model_validate_json(content), _pieces(packed, most_bytes)
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValidationError, ValueError) as error:
        raise _unreadable(error) from None


def _pieces(packed: io.BufferedIOBase, most_bytes: int) -> Iterator[bytes]:
    left_bytes = most_bytes
    try:
        while piece := packed.read(CHUNK_BYTES):
            left_bytes -= len(piece)
            if left_bytes < 0:
                raise EngineError(f"this file unpacks to more than {most_bytes} bytes, the limit for all snapshots")
            yield piece
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(error) from None


def _exactly(packed: io.BufferedIOBase, size: int) -> bytes:
    found = packed.read(size)
    if len(found) < size:
        raise EOFError("it ends too early")
    return found


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _unreadable(error: Exception) -> EngineError:
    return EngineError(f"this file is not a snapshot, or is damaged: {error}")
