"""docs/wire.md and tests/vectors/async_payments.json, from which others implement the protocol, agree with the code."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import pytest
from coincurve import PrivateKey

from asyncpay.lsp_info import LspInfo
from asyncpay.wire import blinding, messages, onion, signature
from asyncpay.wire.blinding import PAYMENT_UNBLOCK, BlindedPath, Hop, HopData
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import BlockRequest, BlockState, BlockStatus, Courier, Message, ReleaseStatus
from asyncpay.wire.onion import ASYNC_PAYMENT, Final, Forward, Payload
from tests.support.vectors import async_payments

PAGE = (Path(__file__).parents[3] / "docs" / "wire.md").read_text(encoding="utf-8")
VECTORS: Any = async_payments()
CLASSES: dict[int, type[Message]] = {int(cls.kind): cls for cls in get_args(Message)}

unhex = bytes.fromhex


def sections() -> Iterator[tuple[str, int, str]]:
    """Name, kind and text of each message on the page."""
    found = re.findall(r"^### `(\w+)` \((\d+)\)\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    return ((name, int(kind), text) for name, kind, text in found)


def test_every_message_is_on_the_page() -> None:
    assert {kind: name for name, kind, _ in sections()} == {k: cls.kind.name.lower() for k, cls in CLASSES.items()}


@pytest.mark.parametrize(("name", "kind", "text"), list(sections()), ids=lambda each: str(each)[:20])
def test_every_record_is_on_the_page(name: str, kind: int, text: str) -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| .* \| (yes|no) \|$", text, re.MULTILINE)
    records = [
        (str(each.type.__metadata__[0].number), each.name, "yes" if each.default is MISSING else "no")  # type: ignore[union-attr]
        for each in fields(CLASSES[kind])
        if each.name != "unknown_records"
    ]
    assert rows == sorted(records, key=lambda record: int(record[0]))


@pytest.mark.parametrize(
    ("kind", "record", "values"), [(2, "status", BlockStatus), (3, "state", BlockState), (6, "status", ReleaseStatus)]
)
def test_every_status_is_on_the_page(kind: int, record: str, values: Any) -> None:
    (text,) = (text for _, number, text in sections() if number == kind)
    row = re.search(rf"^\| \d+ \| `{record}` \| 1 byte[:,](.*)$", text, re.MULTILINE)
    assert row is not None
    numbered = {int(number): words.strip() for number, words in re.findall(r"\b(\d) ([a-z ]+)", row[1])}
    assert numbered == {int(each): each.name.lower().replace("_", " ") for each in values}


def test_the_types_of_the_records_and_the_offer_are_on_the_page() -> None:
    assert f"| `onionmsg_tlv` | {ASYNC_PAYMENT} |" in PAGE
    assert f"| `encrypted_data_tlv` | {PAYMENT_UNBLOCK} |" in PAGE
    assert f"more than {messages.MAX_MESSAGE_BYTES} bytes" in PAGE
    offer = PAGE[PAGE.index("## The LSP's offer") :]
    rows = [name for row in re.findall(r"^\| (`.*?`) \| ", offer, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert rows == [each.name for each in fields(LspInfo)]


def as_vector(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case tuple():
            return [as_vector(each) for each in value]
        case Courier():
            return {"path_key": value.path_key.hex(), "onion": value.onion.hex()}
    return value


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda vector: vector["name"])
def test_each_message_of_the_vectors_is_read_and_written(vector: Any) -> None:
    data = unhex(vector["bytes"])
    message = messages.decode(data)
    assert message.encode() == data
    assert (message.kind, message.kind.name.lower()) == (vector["kind"], vector["name"])
    present = {each.name: as_vector(getattr(message, each.name)) for each in fields(message)}
    assert {name: value for name, value in present.items() if value not in (None, [])} == vector["fields"]


def test_all_kinds_are_in_the_vectors() -> None:
    assert {vector["kind"] for vector in VECTORS["messages"]} == CLASSES.keys()


@pytest.mark.parametrize(
    "vector", [each for each in VECTORS["messages"] if "signed_text" in each], ids=lambda v: v["name"]
)
def test_each_signature_of_the_vectors_is_the_payer_s(vector: Any) -> None:
    request = messages.decode(unhex(vector["bytes"]))
    assert isinstance(request, (BlockRequest, messages.CancelRequest))
    text = request.signed_text(unhex(VECTORS["node_ids"]["payer_lsp"]))
    assert text == vector["signed_text"]
    assert signature.decode(vector["signature_zbase32"]) == request.signature
    assert signature.recover(text, request.signature) == unhex(VECTORS["node_ids"]["payer"])
    altered = replace(request, unblock_hash=bytes(32)).signed_text(unhex(VECTORS["node_ids"]["payer_lsp"]))
    assert signature.recover(altered, request.signature) != unhex(VECTORS["node_ids"]["payer"])


@pytest.mark.parametrize("vector", VECTORS["malformed"], ids=lambda vector: vector["why"])
def test_each_malformed_message_of_the_vectors_is_refused(vector: Any) -> None:
    with pytest.raises(WireError):
        messages.decode(unhex(vector["bytes"]))


def test_the_derived_values_of_the_vectors() -> None:
    values = {name: unhex(value) for name, value in VECTORS["values"].items()}
    assert values["unblock_hash"] == sha256(values["pid"]).digest()
    assert values["release_path_id"] == messages.release_path_id(values["pid"])
    hashes, secrets = (values["payment_hash"],), (values["payment_secret"],)
    assert values["invoice_proof"] == messages.invoice_proof(values["pid"], hashes, secrets)
    ids = {name: PrivateKey(unhex(key)).public_key.format().hex() for name, key in VECTORS["node_secrets"].items()}
    assert ids == VECTORS["node_ids"]


def test_the_release_of_the_vectors_is_made_and_read() -> None:
    release, pid = VECTORS["release"], unhex(VECTORS["values"]["pid"])
    hops = [Hop(unhex(h["node_id"]), HopData.decode(unhex(h["encrypted_data_tlv"]))) for h in release["hops"]]
    path = blinding.build(hops, unhex(release["path_session_key"]))
    assert path.encode().hex() == release["blinded_path"]
    assert BlindedPath.decode(unhex(release["blinded_path"])) == path
    payload = Payload.decode(unhex(release["onionmsg_tlv"]))
    sent = onion.build(path, payload, unhex(release["onion_session_key"]))
    assert (sent.path_key.hex(), sent.packet.hex()) == (release["path_key"], release["onion_packet"])

    seen = onion.peel(sent.packet, sent.path_key, key_of("payer_lsp").ecdh)
    assert isinstance(seen, Forward)
    assert (seen.data.payment_unblock, seen.data.next_node_id) == (pid, unhex(VECTORS["node_ids"]["payer"]))
    arrived = onion.peel(seen.message.packet, seen.message.path_key, key_of("payer").ecdh)
    assert isinstance(arrived, Final)
    assert arrived.data.path_id == messages.release_path_id(pid)
    assert arrived.payload.async_payment is not None
    assert messages.decode(arrived.payload.async_payment) == messages.PaymentRelease(pid=pid)


def key_of(node: str) -> PrivateKey:
    return PrivateKey(unhex(VECTORS["node_secrets"][node]))
