"""A snapshot's file, also one that a stranger has made."""

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines import snapshot_file
from harness.engines.base import EngineError
from harness.engines.snapshot_file import HEAD_NAME, Head

MOST_BYTES = 1_000_000
HEAD = Head(name="00ff", facts="facts", volumes=["A", "A-wallet"])


def of_volumes() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("volumes/A/f")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    return packed.getvalue()


def written() -> bytes:
    file = io.BytesIO()
    snapshot_file.write(file, HEAD, [of_volumes()[:700], of_volumes()[700:]])
    return file.getvalue()


def archive(head: bytes, name: str = HEAD_NAME) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as made:
        member = tarfile.TarInfo(name)
        member.size = len(head)
        made.addfile(member, io.BytesIO(head))
    return packed.getvalue()


def test_it_is_read_as_it_was_written() -> None:
    head, pieces = snapshot_file.read(io.BytesIO(written()), MOST_BYTES)
    assert head == HEAD
    assert b"".join(pieces) == of_volumes()


def test_every_tar_can_look_into_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(written())) as archived:
        assert archived.getnames() == [HEAD_NAME, "volumes/A/f"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"no archive", id="no gzip"),
        pytest.param(gzip.compress(b""), id="empty gzip"),
        pytest.param(gzip.compress(b"short"), id="gzip of no tar"),
        pytest.param(archive(HEAD.model_dump_json().encode(), name="other"), id="another file"),
        pytest.param(archive(b""), id="empty head"),
        pytest.param(archive(b"{}"), id="head without fields"),
        pytest.param(archive(b'{"name": "../x", "facts": "", "volumes": []}'), id="path as a name"),
        pytest.param(archive(b'{"name": "ab", "facts": "", "volumes": ["../A"]}'), id="path as a volume"),
        pytest.param(archive(b'{"name": "ab", "facts": "", "volumes": "A"}'), id="volumes no list"),
        pytest.param(archive(b'{"name": "ab", "facts": 1, "volumes": []}'), id="facts no text"),
        pytest.param(archive(HEAD.model_dump_json().encode().ljust(snapshot_file.MOST_HEAD_BYTES + 1)), id="long head"),
    ],
)
def test_what_is_none_is_a_sentence(content: bytes) -> None:
    with pytest.raises(EngineError, match="not a snapshot"):
        snapshot_file.read(io.BytesIO(content), MOST_BYTES)


@given(st.data())
def test_a_damaged_one_is_noticed_or_the_same(data: st.DataObject) -> None:
    """gzip's checksum is over everything that it packs; a few bits of the packed form mean nothing."""
    whole = written()
    content = bytearray(whole)
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(10, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        head, pieces = snapshot_file.read(io.BytesIO(bytes(content)), MOST_BYTES)
        found = head, b"".join(pieces)
    except EngineError:
        return
    head, pieces = snapshot_file.read(io.BytesIO(whole), MOST_BYTES)
    assert found == (head, b"".join(pieces))


def test_what_unpacks_to_too_much_is_given_up() -> None:
    """A few kilobytes of gzip may be gigabytes of zeros."""
    bomb = archive(HEAD.model_dump_json().encode()) + gzip.compress(bytes(10_000_000))
    _, pieces = snapshot_file.read(io.BytesIO(bomb), MOST_BYTES)
    with pytest.raises(EngineError, match="unpacks to more than"):
        for _ in pieces:
            pass
