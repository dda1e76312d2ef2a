"""A lightningd that is played: its RPC socket, our plugin's methods, and any number in any event."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from asyncpay.config import ClnConfig
from asyncpay.wire import onion, signature
from asyncpay.wire.blinding import BlindedPath
from asyncpay.wire.onion import Final

from .identities import CHANNELS, HASH, NODE, PEERS, Heard, onion_to, sign

POLL_SECONDS = 2


class Lightningd(Heard):
    """Behind `config`. It tells what it is made to tell, and holds the HTLCs that it has offered."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.config = ClnConfig(implementation="cln", rpc_file=folder / "rpc")
        self._session = 0
        self._events: list[dict[str, Any]] = []
        self._told = asyncio.Event()
        self._number = 0
        self._held: dict[tuple[str, str], Any] = {}
        self._htlcs: list[dict[str, Any]] = []
        self._own_invoice: dict[str, Any] = {}
        self.height = 500

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with await asyncio.start_unix_server(self._serve, self.config.rpc_file, limit=2**26):
            yield

    # --- what happens ---

    def custom(self, peer: bytes, payload: bytes) -> None:
        self._tell("custommsg", {"peer_id": peer.hex(), "payload": (37913).to_bytes(2, "big").hex() + payload.hex()})

    def htlc(self, **numbers: Any) -> None:
        """The names are those of HeldHtlc."""
        htlc = {
            "short_channel_id": str(CHANNELS[PEERS[0]]),
            "id": numbers.get("htlc_id", 0),
            "amount_msat": numbers.get("incoming_amount_msat", 2_000),
            "cltv_expiry": numbers.get("incoming_expiry", 2_000),
            "payment_hash": HASH.hex(),
        }
        onion = {
            "short_channel_id": str(CHANNELS[PEERS[1]]),
            "forward_msat": numbers.get("outgoing_amount_msat", 1_000),
            "outgoing_cltv_value": numbers.get("outgoing_expiry", 1_000),
        }
        payload = {"peer_id": PEERS[0].hex(), "onion": onion, "htlc": htlc}
        self._held[htlc["short_channel_id"], repr(htlc["id"])] = payload
        self._tell("htlc_accepted", payload)

    def outcome(self, htlc_id: Any, settled: bool) -> None:
        event = {"in_channel": str(CHANNELS[PEERS[0]]), "in_htlc_id": htlc_id, "status": "failed"}
        self._tell("forward_event", event | ({"status": "settled", "preimage": "73" * 32} if settled else {}))

    def block(self, height: Any) -> None:
        self._tell("block_added", {"height": height})

    def invoice_paid(self, amount_msat: Any) -> None:
        self._tell("invoice_payment", {"preimage": "73" * 32, "msat": amount_msat})

    def pending(self, **numbers: Any) -> None:
        """An HTLC on a channel, as the next look shows it."""
        self._htlcs = [
            {
                "direction": "in",
                "id": numbers.get("htlc_id", 0),
                "amount_msat": numbers.get("incoming_amount_msat", 1),
                "expiry": numbers.get("incoming_expiry", 600),
                "payment_hash": HASH.hex(),
                "state": "RCVD_ADD_ACK_REVOCATION",
            }
        ]
        self._tell("channel_state_changed", {})

    def own_invoice(self, **numbers: Any) -> None:
        made = {"status": "unpaid", "amount_msat": 1_000, "expires_at": 2**33}
        self._own_invoice = (
            made | {"amount_msat": numbers.get("amount_msat", 1_000)} | {"expires_at": numbers.get("expiry", 2**33)}
        )

    def onion(self, value: bytes, path_id: bytes | None = None, reply_path: BlindedPath | None = None) -> None:
        """An onion message that ends here; value: of onionmsg_tlv 180003."""
        payload: dict[str, Any] = {"unknown_fields": [{"number": 180003, "value": value.hex()}]}
        if path_id is not None and len(path_id) == 32:
            payload["pathsecret"] = path_id.hex()
        self._tell("onion_message_recv_secret" if "pathsecret" in payload else "onion_message_recv", payload)

    def raw(self, topic: str, payload: Any) -> None:
        self._tell(topic, payload)

    def peer(self, peer: bytes, online: bool) -> None:
        self._tell("connect" if online else "disconnect", {"id": peer.hex()})

    def forget(self) -> None:
        """HTLCs are over, so that a long run does not grow."""
        self._held.clear()
        self._htlcs.clear()

    def _tell(self, topic: str, payload: Any) -> None:
        self._number += 1
        self._events.append({"number": self._number, "topic": topic, "payload": payload})
        self._told.set()

    # --- what it is asked ---

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            request = await _request(reader)
            try:
                answer = {"result": await self._answer(request["method"], request["params"])}
            except LookupError as error:
                answer = {"error": {"code": -1, "message": str(error)}}
            writer.write(json.dumps(answer).encode() + b"\n\n")
            await writer.drain()
        writer.close()

    async def _answer(self, method: str, params: dict[str, Any]) -> Any:
        if method == "asyncpay-events":
            return await self._events_after(params["session"], params["after"])
        answers: dict[str, Callable[[], Any]] = {
            "asyncpay-attach": self._attach,
            "asyncpay-answer": lambda: self._answered(params["short_channel_id"], params["htlc_id"]),
            "getinfo": lambda: {"id": NODE.hex(), "network": "regtest", "blockheight": self.height},
            "listpeerchannels": lambda: {"channels": [self._channel(peer) for peer in PEERS]},
            "listpeers": lambda: {"peers": [{"id": peer.hex(), "connected": True} for peer in PEERS]},
            "sendcustommsg": lambda: self.hear(bytes.fromhex(params["node_id"]), bytes.fromhex(params["msg"])[2:]),
            "signmessage": lambda: {"zbase": signature.encode(sign(params["message"]))},
            "decode": lambda: self._decoded(params["string"]),
            "listinvoices": lambda: {"invoices": [self._own_invoice] if self._own_invoice else []},
            "listnodes": lambda: {"nodes": []},
            "listchannels": lambda: {"channels": []},
            "listsendpays": lambda: {"payments": []},
            "injectonionmessage": lambda: self._peel(params),
        }
        if method not in answers:
            raise LookupError(f"no {method} here")
        return answers[method]() or {}

    def _attach(self) -> Any:
        self._session += 1
        self._events.clear()
        for payload in self._held.values():
            self._tell("htlc_accepted", payload)
        return {"session": self._session}

    def _answered(self, short_channel_id: str, htlc_id: Any) -> Any:
        return {"answered": self._held.pop((short_channel_id, repr(htlc_id)), None) is not None}

    async def _events_after(self, session: int, after: int) -> Any:
        if session != self._session:
            raise LookupError("this session is over")
        self._events = [event for event in self._events if event["number"] > after]
        if not self._events:
            self._told.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), POLL_SECONDS)
        return {"events": self._events, "dropped": 0}

    def _decoded(self, text: str) -> Any:
        fields = self.invoices.get(text)
        if fields is None:
            raise LookupError("Invalid bolt11")
        decoded = {
            "type": "bolt11 invoice",
            "valid": True,
            "payment_hash": self.payment_hash.hex(),
            "payee": PEERS[1].hex(),
            "amount_msat": fields.get("amount_msat", 1_000),
            "currency": "bcrt",
            "created_at": fields.get("created_at", 0),
            "expiry": fields.get("expiry", 2**33),
            "min_final_cltv_expiry": fields.get("min_final_cltv_expiry", 18),
            "description": fields.get("description", ""),
            "features": fields.get("features", "02024100"),
        }
        return decoded | fields.get("raw", {})

    def _channel(self, peer: bytes) -> dict[str, Any]:
        return {
            "channel_id": peer[:32].hex(),
            "peer_id": peer.hex(),
            "state": "CHANNELD_NORMAL",
            "peer_connected": True,
            "reestablished": True,
            "short_channel_id": str(CHANNELS[peer]),
            "alias": {},
            "direction": 0,
            "htlcs": self._htlcs if peer == PEERS[0] else [],
        }

    def _peel(self, params: dict[str, Any]) -> None:
        """lightningd peels for itself; what ends here comes back."""
        peeled = onion.peel(bytes.fromhex(params["message"]), bytes.fromhex(params["path_key"]), onion_to)
        if isinstance(peeled, Final) and peeled.payload.async_payment is not None:
            self.onion(peeled.payload.async_payment, peeled.data.path_id)


async def _request(reader: asyncio.StreamReader) -> Any:
    """One JSON object; nothing marks its end."""
    text = b""
    while data := await reader.read(2**20):
        text += data
        with suppress(ValueError):
            return json.loads(text)
    raise EOFError
