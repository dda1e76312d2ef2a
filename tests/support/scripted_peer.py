"""A peer whose every protocol message is scripted, for behaviour that no wallet has.

It uses the node adapter and the wire format like a wallet, stores nothing and decides nothing. Differences between the
implementations of its node are in scripted_node.py.
"""

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from types import TracebackType
from typing import Any, Self, TypeVar

from asyncpay.engine.lsp.states import State
from asyncpay.lightning import Invoice, PaymentResult
from asyncpay.lsps import jsonrpc
from asyncpay.lsps.jsonrpc import Answer
from asyncpay.node_events import CustomMessage, NodeEvent, OnionReceived
from asyncpay.nodes.base import NodeUnreachableError, Payment
from asyncpay.service.common.onions import release_path
from asyncpay.wire import blinding, messages, onion
from asyncpay.wire.blinding import BlindedPath, Hop, HopData
from asyncpay.wire.messages import (
    UNSIGNED,
    BlockRequest,
    BlockState,
    BlockUpdate,
    CancelRequest,
    Message,
    PaymentPending,
    PaymentRelease,
    ReleaseReply,
    ReleaseStatus,
)
from asyncpay.wire.onion import OnionMessage, Payload
from harness.testbed import Testbed
from harness.waits import Predicate, WaitTimeoutError, wait_for
from tests.support import scripted_node
from tests.support.implementations import capabilities
from tests.support.scripted_node import ScriptedNode

T = TypeVar("T")
Signed = TypeVar("Signed", BlockRequest, CancelRequest)

SLACK_BLOCKS = 144
PACE_SECONDS = 0.3
"""The interval between onion messages to Core Lightning, which silently drops more than four per second."""


class ScriptedPeer:
    """A node, and the messages that it has received. A context manager."""

    def __init__(self, testbed: Testbed, name: str) -> None:
        self.testbed = testbed
        self.name = name
        self.inbox: list[Message] = []
        self.events: list[NodeEvent] = []
        self._paced = "cln" in testbed.topology.implementations
        self._next_onion_at = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"phone {name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def open(self) -> None:
        """Connect to the node, which must run, and listen. Call it again after a restart of the node."""
        self.own: ScriptedNode = self.run(scripted_node.connect(self.testbed, self.name))
        self.node = self.own.node
        listening: Future[None] = Future()
        self._listening = self.run(self._begin(self._listen(listening)))
        listening.result(30)

    def close(self) -> None:
        """Stop listening, and disconnect from the node."""
        self.run(self._hang_up())

    async def _begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        return asyncio.create_task(work)

    async def _hang_up(self) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self.own.close()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Kill the phone, and start it again at the end of the `with` block."""
        self.close()
        self.testbed.kill(self.name)
        try:
            yield
        finally:
            self.testbed.start_and_wait(self.name)
            self.open()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in this peer's event loop, and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(150)

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Start a coroutine in this peer's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _listen(self, listening: "Future[None]") -> None:
        try:
            async for event in self.node.events():
                if not listening.done():
                    listening.set_result(None)
                self.events.append(event)
                if isinstance(event, OnionReceived) and event.async_payment is not None:
                    self.inbox.append(messages.decode(event.async_payment))
        except NodeUnreachableError as error:
            if not listening.done():
                listening.set_exception(error)

    @property
    def node_id(self) -> bytes:
        """33 bytes."""
        return bytes.fromhex(self.testbed[self.name].node_id)

    def expect(self, wanted: Message, timeout_seconds: float = 30) -> None:
        """Wait until exactly this message has arrived."""
        arrived = Predicate(f"{self.name}_got", lambda: None if wanted in self.inbox else f"got {self.inbox}")
        wait_for(arrived, timeout_seconds)

    def send(
        self,
        to: bytes,
        message: Message,
        reply_to_me: bool = False,
        via: Sequence[bytes] = (),
        back: BlindedPath | None = None,
    ) -> None:
        """Send a message to a peer, or beyond the nodes `via`, with a reply path `back`; made here if `reply_to_me`."""
        there = [*via, to]
        path = blinding.build(self.hops(*there), secrets.token_bytes(32))
        if reply_to_me:
            hops = blinding.hops_through([*reversed(there), self.node_id], HopData(path_id=secrets.token_bytes(32)))
            back = blinding.build(hops, secrets.token_bytes(32))
        payload = Payload(async_payment=message.encode(), reply_path=back)
        self.send_onion(there[0], onion.build(path, payload, secrets.token_bytes(32)))

    def hops(self, *nodes: bytes, last: HopData | None = None) -> list[Hop]:
        """Return an onion message's hops over these nodes, the first one a peer; `last` is for the last node."""
        start = [self.node_id] if self.own.sends_through_itself else []
        return blinding.hops_through([*start, *nodes], last or HopData())

    def send_onion(self, peer: bytes, message: OnionMessage) -> None:
        """Send a message that was made for `hops`, the first of which is this peer, slowly enough not to be dropped."""
        if self._paced:
            time.sleep(max(0, self._next_onion_at - time.monotonic()))
            self._next_onion_at = time.monotonic() + PACE_SECONDS
        self.run(self.node.send_onion(self.node_id if self.own.sends_through_itself else peer, message))

    def call(self, lsp: bytes, method: str, **params: Any) -> Answer:
        """Send an LSPS0 request to an LSP, and return its answer."""
        calls = jsonrpc.Calls()
        asked = calls.begin(method, params)
        self.run(self.node.send_custom(lsp, jsonrpc.MESSAGE_TYPE, asked.payload))
        answers: list[Answer] = []

        def missing() -> str | None:
            said = [e.data for e in self.events if isinstance(e, CustomMessage) and e.peer == lsp]
            answers.extend(answer for data in said if (answer := calls.receive(data)))
            return None if answers else f"{len(said)} answers to others"

        wait_for(Predicate(f"answer_to_{method}", missing))
        return answers[0]

    def go_offline(self, lsp_name: str) -> None:
        """Disconnect; the node keeps running. Until `go_online` neither end dials: the dialled end has no address."""
        lsp = self.testbed[lsp_name].node_id
        was_dialled = any(peer["inbound"] for peer in self._lncli("listpeers")["peers"] if peer["pub_key"] == lsp)
        if was_dialled:
            self.testbed[lsp_name].disconnect(self.testbed[self.name])
        else:
            self.testbed[self.name].disconnect(self.testbed[lsp_name])

        def missing() -> str | None:
            online = self.testbed.lsp(lsp_name).status()["node"]["peers_online"]
            return f"{self.name} is connected" if self.node_id.hex() in online else None

        wait_for(Predicate(f"{self.name}_offline", missing))

    def go_online(self, lsp_name: str) -> None:
        """Dial the LSP, and wait until the channel is usable."""
        self.testbed.connect(self.name, lsp_name)
        wait_for(self.testbed.channels_usable(self.name), 60)

    def _lncli(self, *arguments: str) -> Any:
        said = self.testbed.engine.output(self.name, [*self.testbed.cli(self.name), *arguments])
        assert said.stdout, said.stderr
        return json.loads(said.stdout)

    def signed(self, request: Signed, lsp: bytes) -> Signed:
        """Return the request with this node's signature."""
        return replace(request, signature=self.run(self.node.sign(request.signed_text(lsp))))

    def invoice(self, amount_msat: int) -> Invoice:
        """Make an invoice of this phone."""
        return self.run(self.node.decode_invoice(self.testbed[self.name].create_invoice(amount_msat)))

    def forget_failures(self) -> None:
        """Reset the node's history of failed channels: it may penalize its LSP's channel for an HTLC failed back."""
        self.testbed[self.name].forget_failures()

    async def pay(
        self, invoice: Invoice, parts: int = 1, timeout_seconds: int = 20, slack_blocks: int = SLACK_BLOCKS
    ) -> PaymentResult:
        """Pay with slack on the final hop, in this many parts of equal size."""
        amount_msat = invoice.amount_msat or 0
        order = Payment(
            invoice=invoice,
            amount_msat=amount_msat,
            fee_limit_msat=100_000,
            cltv_limit_blocks=2016,
            slack_blocks=slack_blocks,
            max_parts=parts,
            max_part_msat=-(-amount_msat // parts),
            timeout_seconds=timeout_seconds,
        )
        return await self.own.pay(order)


class Hold:
    """One payment from a payer to a payee through the payer's LSP, step by step."""

    def __init__(self, payer: ScriptedPeer, lsp_name: str, invoice: Invoice, /, **changes: Any) -> None:
        self.payer = payer
        self.lsp_name = lsp_name
        self.invoice = invoice
        self.lsp_id = bytes.fromhex(payer.testbed[lsp_name].node_id)
        self.pid = secrets.token_bytes(32)
        terms: dict[str, Any] = {
            "unblock_hash": messages.unblock_hash(self.pid),
            "payment_hashes": (invoice.payment_hash,),
            "amount_msat": invoice.amount_msat or 0,
            "release_by_height": payer.testbed.chain.height_blocks + SLACK_BLOCKS,
            "hold_until": int(time.time()) + 3_000,
            "signature": UNSIGNED,
        }
        self.request = payer.signed(BlockRequest(**(terms | changes)), self.lsp_id)

    def ask(self, status: messages.BlockStatus = messages.BlockStatus.ACCEPTED) -> Self:
        """Send the block_request and wait for the expected reply."""
        self.payer.send(self.lsp_id, self.request)
        unblock_hash = self.request.unblock_hash

        def missing() -> str | None:
            replies = [m for m in self.payer.inbox if isinstance(m, messages.BlockReply)]
            mine = [reply.status for reply in replies if reply.unblock_hash == unblock_hash]
            return None if status in mine else f"replies {mine}"

        wait_for(Predicate(f"block_reply_{status.name}", missing))
        return self

    def pay(self, parts: int = 1, **options: Any) -> Self:
        """Send the payment's HTLCs; `result` waits for the outcome."""
        self.parts = parts
        self.payment = self.payer.start(self.payer.pay(self.invoice, parts, **options))
        return self

    def announce(self, payee: bytes, *others: Invoice, proven: bool = True, **changes: Any) -> Self:
        """Announce the payment to the payee, a client of the same LSP, with a proof of having its invoice; `others`:
        the invoices of the payment hashes after the first.

        The payee must find the route for its release itself, if the LSP sees messages that it forwards to the payer.
        """
        request = self.request
        terms: dict[str, Any] = {
            "payment_hashes": request.payment_hashes,
            "amount_msat": request.amount_msat,
            "release_by_height": request.release_by_height,
            "hold_until": request.hold_until,
        }
        if proven:
            payment_secrets = [each.payment_secret or b"" for each in (self.invoice, *others)]
            terms["invoice_proof"] = messages.invoice_proof(self.pid, request.payment_hashes, payment_secrets)
        me, back = {"payer_lsp_node_id": self.lsp_id, "payer_node_id": self.payer.node_id}, None
        if not capabilities(self.payer.testbed, self.lsp_name).transit_release:
            me, back = {}, release_path(self.lsp_id, self.payer.node_id, self.pid, transit_release=False)
        message = PaymentPending(**{"pid": self.pid} | me | terms | changes)
        self.payer.send(payee, message, via=[self.lsp_id], back=back)
        return self

    def update(self, state: BlockState, parts: int = 1, timeout_seconds: float = 30) -> Self:
        """Wait until the payer receives this block update."""
        wanted = BlockUpdate(unblock_hash=self.request.unblock_hash, state=state, parts=parts)
        self.payer.expect(wanted, timeout_seconds)
        return self

    def show_pid(self, payee: ScriptedPeer, via: Sequence[bytes] = ()) -> None:
        """Make the payee release the payment, over the nodes `via` if it is not a peer of the LSP."""
        payee.send(self.lsp_id, PaymentRelease(pid=self.pid), reply_to_me=True, via=via)

    def release(self, payee: ScriptedPeer, via: Sequence[bytes] = ()) -> Self:
        """Release the payment, and wait until the payee receives the reply RELEASED."""
        self.show_pid(payee, via)
        payee.expect(ReleaseReply(unblock_hash=self.request.unblock_hash, status=ReleaseStatus.RELEASED))
        return self

    def wait_for_state(self, state: State, timeout_seconds: float = 30) -> Self:
        """Wait until the LSP's block is in this state."""
        lsp, name = self.payer.testbed.lsp(self.lsp_name), self.request.unblock_hash.hex()

        def missing() -> str | None:
            states = [block["state"] for block in lsp.status()["blocks"] if block["unblock_hash"] == name]
            return None if states == [state.value] else f"it is {states}"

        wait_for(Predicate(f"block_is_{state.value}", missing), timeout_seconds)
        return self

    def cancel(self) -> None:
        """Cancel the payment: request the parts back."""
        request = CancelRequest(unblock_hash=self.request.unblock_hash, signature=UNSIGNED)
        self.payer.send(self.lsp_id, self.payer.signed(request, self.lsp_id))

    def result(self, timeout_seconds: float = 60) -> PaymentResult:
        """Wait for the payer's node's result of the payment; a preimage is checked against the hash."""
        try:
            return self._checked(self.payment.result(timeout_seconds))
        except TimeoutError:
            name, payment_hash = self.payer.name, self.invoice.payment_hash.hex()
            raise WaitTimeoutError("payment_decided", timeout_seconds, f"{name} still pays {payment_hash}") from None

    def outcome(self) -> PaymentResult:
        """Return the result after the payer was offline, from its node's records."""
        return self._checked(self.payer.run(self.payer.node.track_payment(self.invoice.payment_hash)))

    def _checked(self, result: PaymentResult) -> PaymentResult:
        if result.preimage is not None:
            assert sha256(result.preimage).digest() == self.invoice.payment_hash
        return result
