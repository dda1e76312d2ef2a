"""What strangers send: chosen by hand from what once went wrong, and made by chance from a seed.

An input is a function of a shell; its name says what it does, so that a failure can be read.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random
from typing import Any

from asyncpay.wire import messages as m
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import UNSIGNED, BlockRequest, CancelRequest, unblock_hash

from .identities import CLIENT, HASH, HONEST, NODE, STRANGER, THIRD, sign
from .shells import Shell, WalletShell

NUMBERS = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**63), 2**64, 10**30]
MSAT = [*NUMBERS, 21 * 10**17, 21 * 10**17 + 1]
NOT_NUMBERS: list[Any] = [None, True, 1.5, "7", [], {}]
HTLC_FIELDS = ["htlc_id", "incoming_amount_msat", "outgoing_amount_msat", "incoming_expiry", "outgoing_expiry"]
RAW_FIELDS: list[dict[str, Any]] = [{"payee": "xy"}, {"routes": [[{}]]}, {"features": "zz"}, {"extra": [{}]}]
INVOICE_FIELDS = ["amount_msat", "created_at", "expiry", "min_final_cltv_expiry"]

URLS = [
    "https://xn--/",
    "https://xn--a/",
    f"https://xn--{'a' * 200}/",
    "https://[::1",
    "https://[::1]]",
    "https://%/",
    "https://%00/",
    "https://a:99999/",
    "https://a:-1/",
    "https://a:0/",
    "https://a:٣/",
    "https://a..b/",
    f"https://{'a' * 300}/",
    "https://1.2.3.4.5/",
    "https://[v1.x]/",
    "https://[::ffff:1.2.3.4%25eth0]/",
    "https:///x",
    "https:x",
    "https:\\\\x",
    "HTTPS://A/",
    "https://a@b/",
    "https://a\\@b/",
    "https://169.254.169.254/latest",
    "https://localhost/",
    f"https://a/{'x' * 1_100}",
    "https://a/[/x]\x1b[2J",
    "ftp://x",
    "",
    "\x00",
    "https://\ud83d\ude00/",
]
RAW_REQUESTS = [
    b"",
    b"\x00",
    b"null",
    b"[]",
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b"1" * 65_000,
    b'"\\ud800"',
    b'{"jsonrpc":"2.0","id":' + b"9" * 5_000 + b',"method":"lsps0.list_protocols"}',
    b'{"jsonrpc":"2.0","id":1e999,"method":"lsps0.list_protocols"}',
    b'{"jsonrpc":"2.0","id":"1","method":"\\ud800","params":{}}',
    b'{"jsonrpc":"2.0","id":"1","method":"lsps5.remove_webhook","params":{"app_name":"' + b"x" * 60_000 + b'"}}',
    b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}',
    b'{"jsonrpc":"2.0","id":"x","error":{"code":' + b"9" * 5_000 + b',"message":"x"}}',
    b"\xff\xfe",
]
ANSWERS = [
    "HTTP/1.1 302 Found\nlocation: https://xn--/\ncontent-length: 0\n\n",
    "HTTP/1.1 302 Found\nlocation: https://a:b/\ncontent-length: 0\n\n",
    "HTTP/1.1 307 x\nlocation: //xn--/\ncontent-length: 0\n\n",
    "HTTP/1.1 302 Found\nlocation: https://[::1/\ncontent-length: 0\n\n",
    "HTTP/1.1 302 Found\nlocation: \n\n",
    "HTTP/1.1 200 OK\nset-cookie: a=b; expires=Thu, 01-Jan-99999999999 00:00:00 GMT\ncontent-length: 0\n\n",
    f"HTTP/1.1 200 OK\nset-cookie: a=b; max-age={'9' * 5_000}\ncontent-length: 0\n\n",
    "HTTP/1.1 200 OK\ncontent-type: text/html; charset=no-such\ncontent-length: 0\n\n",
    "HTTP/1.1 200 OK\ncontent-length: -1\n\n",
    "HTTP/1.1 99999 x\n\n",
    "HTTP/1.1 101 Switching\n\n",
    "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\nZZ",
    "\x00" * 100,
    "SSH-2.0-x\n",
    "",
]


@dataclass(frozen=True)
class Input:
    """name: with everything in it that makes it this one."""

    name: str
    send: Callable[[Any], Any]


def call(method: Any, params: Any, call_id: Any = "1", **more: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params, **more}).encode()


def _custom(peer: bytes, payload: bytes, what: str) -> Input:
    return Input(f"{what} {payload[:100]!r}", lambda shell: shell.node.custom(peer, payload))


def set_webhook(url: Any, app_name: Any = "phone", peer: bytes = CLIENT) -> Input:
    return _custom(peer, call("lsps5.set_webhook", {"app_name": app_name, "webhook": url}), "LSPS0")


def htlc(**numbers: Any) -> Input:
    return Input(f"HTLC {numbers}", lambda shell: shell.node.htlc(**numbers))


def pending(**numbers: Any) -> Input:
    return Input(f"pending HTLC {numbers}", lambda shell: shell.node.pending(**numbers))


def event(verb: str, *arguments: Any) -> Input:
    return Input(f"{verb} {arguments}", lambda shell: getattr(shell.node, verb)(*arguments))


def onion(value: bytes, path_id: bytes | None = None) -> Input:
    return Input(f"onion {value[:120].hex()}", lambda shell: shell.node.onion(value, path_id))


def block_request(invoice: str | None = None, by: bytes = CLIENT, lsp: bytes = NODE, **changes: Any) -> bytes:
    """A signed block_request; changes: fields that are not as usual."""
    usual: dict[str, Any] = {
        "unblock_hash": unblock_hash(changes.pop("pid", bytes(32))),
        "payment_hashes": (HASH,),
        "invoice": invoice,
        "amount_msat": 1_000,
        "release_by_height": 800,
        "hold_until": int(time.time()) + 3_600,
        "signature": UNSIGNED,
    }
    request = BlockRequest(**(usual | changes))
    return replace(request, signature=sign(request.signed_text(lsp), by)).encode()


def with_invoice(fields: dict[str, Any], text: str = "lnbcrt1") -> Input:
    """A block_request whose invoice says this."""

    def send(shell: Shell) -> None:
        shell.node.block(500)
        shell.node.invoices[text] = fields
        pid = sha256(f"{text}{fields}".encode()).digest()
        # A hash of its own, for a request with the hash of an earlier one is refused before the invoice counts.
        shell.node.payment_hash = sha256(pid).digest()
        asked = fields.get("amount_msat")
        amount_msat = asked if type(asked) is int and 0 < asked < 2**63 else 1_000
        hashes = (shell.node.payment_hash,)
        shell.node.onion(block_request(text, pid=pid, payment_hashes=hashes, amount_msat=amount_msat))

    return Input(f"invoice {text!r} {fields}", send)


async def _log_that_cannot_be_written(shell: Shell) -> None:
    shell.log.broken = True
    shell.node.onion(b"\xff")
    await shell.check()
    shell.log.broken = False


async def _begin_again(shell: Shell) -> None:
    await shell.stop()
    shell.node.forget()
    await shell.start()


CHOSEN_FOR_LND = [Input("a certificate that was renewed", lambda shell: shell.node.renew_certificate())]
CHOSEN_FOR_BOTH = [
    Input("a log that cannot be written", _log_that_cannot_be_written),
    Input("stop and start", _begin_again),
    *(event("block", number) for number in (*NUMBERS, *NOT_NUMBERS)),
    *(event("invoice_paid", number) for number in MSAT),
    *(pending(**{field: number}) for field in HTLC_FIELDS[:4:3] for number in NUMBERS),
    *(onion(value) for value in (b"", b"\x00", b"\xff" * 100, bytes(30_000))),
]
CHOSEN_FOR_LSP = [
    *map(set_webhook, URLS),
    *(set_webhook("https://push.example/", name) for name in ("[/x]", "\x1b[2J", "\x00", "\U0001f600" * 16, "x" * 70)),
    *(set_webhook(value, value) for value in (*NOT_NUMBERS, *NUMBERS)),
    *(_custom(peer, payload, "LSPS0") for peer in (CLIENT, STRANGER) for payload in RAW_REQUESTS),
    *(htlc(**{field: number}) for field in HTLC_FIELDS for number in (*MSAT, *NOT_NUMBERS)),
    *(event("outcome", number, settled) for number in NUMBERS for settled in (True, False)),
    *(with_invoice({field: number}) for field in INVOICE_FIELDS for number in MSAT),
    *(with_invoice({"description": text}) for text in ("\ud800", "\x1b[2J[/x]", "x" * 5_000)),
    *(with_invoice({}, text) for text in ("lightning:lnbcrt1", " lnbcrt1\n", "LNBCRT1", "\x00", "lnbcrt1" * 900)),
    *(with_invoice({"raw": raw}) for raw in RAW_FIELDS),
    *(onion(block_request(amount_msat=number)) for number in (0, 2**63, 2**64 - 1)),
    *(onion(block_request(hold_until=number)) for number in (0, 2**53, 2**63 - 1, 2**63, 2**64 - 1)),
    *(onion(block_request(release_by_height=number)) for number in (0, 2**31, 2**32 - 1)),
]
CHOSEN_FOR_WALLET = [
    *(_custom(peer, payload, "custom message") for peer in (HONEST, STRANGER) for payload in RAW_REQUESTS),
]


def lsp_input(random: Random) -> Input:
    """One that chance makes."""
    match random.randrange(8):
        case 0 | 1:
            return _custom(random.choice([CLIENT, THIRD, STRANGER]), _damaged(random, _request(random)), "LSPS0")
        case 2:
            fields = random.sample(HTLC_FIELDS, random.randrange(1, 4))
            return htlc(**{field: _number(random) for field in fields})
        case 3:
            return event("outcome", _number(random), random.random() < 0.5)
        case 4:
            numbers = {field: _number(random) for field in random.sample(INVOICE_FIELDS, random.randrange(1, 3))}
            return with_invoice(numbers, random.choice(["lnbcrt1", "LNBCRT1", "lightning:lnbcrt1", " lnbcrt1"]))
        case 5:
            return pending(**{random.choice(HTLC_FIELDS): _number(random)})
        case 6:
            return event("block", random.choice([*NUMBERS, random.randrange(2_000)]))
    return onion(_damaged(random, _message(random)), random.choice([None, bytes(32), random.randbytes(32)]))


def wallet_input(random: Random) -> Input:
    """One that chance makes."""
    match random.randrange(7):
        case 0 | 1:
            return _custom(random.choice([HONEST, STRANGER]), _damaged(random, _answer(random)), "custom message")
        case 2:
            return event("block", random.choice([*NUMBERS, random.randrange(2_000)]))
        case 3:
            return event("invoice_paid", _number(random))
        case 4:
            return _own_invoice(random)
        case 5:
            return _said_to_wallet(random)
    return onion(_damaged(random, _message(random)), random.choice([None, bytes(32), random.randbytes(32)]))


def _own_invoice(random: Random) -> Input:
    numbers = {"amount_msat": _number(random), "expiry": _number(random)}
    pid = random.randbytes(32)
    value = m.PaymentPending(
        pid=pid,
        payer_lsp_node_id=HONEST,
        payer_node_id=CLIENT,
        payment_hashes=(HASH,),
        amount_msat=random.choice([1_000, 2**62, 2**64 - 1]),
        release_by_height=random.choice([800, 2**32 - 1]),
        hold_until=random.choice([2**33, 2**53, 2**63 - 1, 2**64 - 1]),
    )

    def send(shell: Shell) -> None:
        shell.node.own_invoice(**numbers)
        shell.node.onion(value.encode())

    return Input(f"payment_pending for own invoice {numbers} {value}", send)


def _said_to_wallet(random: Random) -> Input:
    verb = random.choice(["pay", "receive", "cancel", "register", "unregister", "status", "webhooks", "dance"])
    arguments: Any = {
        "invoice": random.choice(["lnbcrt1", "lightning:LNBCRT1", " lnbcrt1 ", "\ud83d\ude00", 7]),
        "payment_hash": random.choice(["00" * 32, "xy", 7]),
        "url": random.choice(URLS[:5]),
        "app_name": "phone",
        "description": random.choice(["", "\x1b[2J", None]),
        "private": False,
        "literal_release": random.random() < 0.5,
        "wait": False,
    }
    for name in ("amount_msat", "slack_blocks", "hold_for_seconds", "max_part_msat", "expiry_seconds"):
        arguments[name] = random.choice([None, 1_000, *NUMBERS])
    said = random.choice([{"verb": verb, "arguments": arguments}, {"verb": verb}, [], verb, {"arguments": arguments}])
    fields = {field: _number(random) for field in random.sample(INVOICE_FIELDS, random.randrange(0, 3))}

    async def send(shell: WalletShell) -> None:
        for text in ("lnbcrt1", "LNBCRT1"):
            shell.node.invoices[text] = fields
        if verb in ("register", "unregister", "webhooks", "pay"):
            shell.background(shell.ask(said))  # they wait for an LSP that says nothing, or nothing that counts
        else:
            await shell.ask(said)

    return Input(f"said to the wallet, where the invoice has {fields}: {said}", send)


def _number(random: Random) -> int:
    number = random.choice(MSAT)
    return random.choice([number, number + random.randrange(-3, 4), random.getrandbits(random.choice([8, 33, 64, 70]))])


ATOMS: list[Any] = [None, True, 0, -1, 1.5, 2**63, 2**70, "", "x", "\x00", "é", "1" * 300, [], {}, "2.0", *URLS[:8]]


def _value(random: Random, depth: int = 0) -> Any:
    chance = random.random()
    if depth > 3 or chance < 0.6:
        return random.choice(ATOMS)
    if chance < 0.8:
        return [_value(random, depth + 1) for _ in range(random.randrange(4))]
    names = ["app_name", "webhook", "id", "x", "jsonrpc", "versions", "code", "message"]
    return {random.choice(names): _value(random, depth + 1) for _ in range(random.randrange(5))}


def _request(random: Random) -> bytes:
    methods = ["lsps5.set_webhook", "lsps5.remove_webhook", "lsps5.list_webhooks", "lsps0.list_protocols"]
    request: dict[str, Any] = {
        "jsonrpc": "2.0",
        "id": "1",
        "method": random.choice([*methods, "async_payments.get_info"]),
        "params": random.choice([{}, {"app_name": "a", "webhook": random.choice(URLS)}, {"app_name": "a"}]),
    }
    return _changed(random, request)


def _answer(random: Random) -> bytes:
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": "1", "result": {"versions": [1], "max_holds": _number(random)}}
    if random.random() < 0.3:
        answer["error"] = {"code": _number(random), "message": _value(random)}
    return _changed(random, answer)


def _changed(random: Random, said: dict[str, Any]) -> bytes:
    for _ in range(random.randrange(3)):
        name = random.choice([*said, "extra"])
        said[name] = _value(random)
        if random.random() < 0.2:
            del said[name]
    return json.dumps(said, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")


def _damaged(random: Random, data: bytes) -> bytes:
    if not data or random.random() < 0.7:
        return data
    damaged = bytearray(data)
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(damaged) + 1)
        damaged[at : at + random.randrange(3)] = random.randbytes(random.randrange(4))
    return bytes(damaged)


def _message(random: Random) -> bytes:
    tu64, tu32 = [number for number in NUMBERS if 0 <= number < 2**64], [0, 1, 499, 800, 2**31, 2**32 - 1]
    pid = random.choice([bytes(32), random.randbytes(32)])
    values: dict[str, Any] = {"amount_msat": random.choice([1_000, *tu64]), "hold_until": random.choice([2**33, *tu64])}
    values["release_by_height"] = random.choice(tu32)
    hashes = tuple(random.choice([HASH, random.randbytes(32)]) for _ in range(random.randrange(1, 5)))
    cancel = CancelRequest(unblock_hash=unblock_hash(pid), signature=UNSIGNED)
    by = random.choice([CLIENT, STRANGER])
    made: list[Callable[[], bytes]] = [
        lambda: block_request(by=by, pid=pid, payment_hashes=hashes, **values),
        lambda: replace(cancel, signature=sign(cancel.signed_text(NODE), by)).encode(),
        lambda: m.PaymentRelease(pid=pid).encode(),
        lambda: m.PaymentRefused(pid=pid, reason=random.choice(["", "\x1b[2J", "x" * 1_000])).encode(),
        lambda: m.ReleaseReply(unblock_hash=unblock_hash(pid), status=random.choice(list(m.ReleaseStatus))).encode(),
        lambda: m.BlockReply(unblock_hash=unblock_hash(pid), status=random.choice(list(m.BlockStatus))).encode(),
        lambda: m.BlockUpdate(
            unblock_hash=unblock_hash(pid), state=random.choice(list(m.BlockState)), parts=random.choice(tu32)
        ).encode(),
        lambda: m.PaymentPending(
            pid=pid, payer_lsp_node_id=HONEST, payer_node_id=CLIENT, payment_hashes=hashes, **values
        ).encode(),
    ]
    try:
        return random.choice(made)()
    except WireError:
        return random.randbytes(random.randrange(100))


def endless(random: Random, chosen: list[Input], chance: Callable[[Random], Input]) -> Iterator[Input]:
    """What was chosen, then what chance makes; and now and then a log that fails, and a new start."""
    yield from chosen
    number = 0
    while True:
        number += 1
        if number % 400 == 0:
            yield CHOSEN_FOR_BOTH[1]
        elif number % 97 == 0:
            yield CHOSEN_FOR_BOTH[0]
        else:
            yield chance(random)
