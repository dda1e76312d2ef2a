"""C, a client of LSP_a with a channel of its own, who knows a payment hash of A's and tries everything with it.

What it cannot know it does not use: a pid, or an unblock_hash before a block of that name stands.
"""

from collections.abc import Callable
from hashlib import sha256

from asyncpay.lightning import NodeId
from asyncpay.wire.messages import (
    UNSIGNED,
    BlockRequest,
    BlockState,
    BlockUpdate,
    CancelRequest,
    PaymentPending,
    PaymentRefused,
    PaymentRelease,
)
from asyncpay.wire.onion import OnionMessage

from .channels import DELTA_BLOCKS, FEE_MSAT, SimHtlc, Step
from .letters import Letters
from .node import SimNode
from .wallet import signed

AMOUNT_MSAT = 50_000_000


class Stranger:
    """Each deed is one method; DEEDS names them. announced: the pids of the payments that it announced to the payee."""

    def __init__(self, node: SimNode, lsp: SimNode, letters: Letters, payment_hash: bytes) -> None:
        self.node, self._lsp, self._letters, self._payment_hash = node, lsp, letters, payment_hash
        self.payee: SimNode
        self.announced: set[bytes] = set()
        self._number = 0

    def request(self) -> None:
        """Asks the LSP to hold A's payment as if it were its own."""
        self._send(self._block_request(sha256(b"pid of C").digest()))

    def guess(self) -> None:
        """Shows a pid that is none."""
        self._number += 1
        self._send(PaymentRelease(pid=sha256(b"guess %d" % self._number).digest()))

    def refuse(self) -> None:
        """Refuses under a pid that is none."""
        self._send(PaymentRefused(pid=bytes(32)))

    def cancel(self, unblock_hash: bytes) -> None:
        """Cancels A's block, of which it somehow knows the name."""
        request = CancelRequest(unblock_hash=unblock_hash, signature=UNSIGNED)
        self._send(signed(request, self.node, self._lsp.id))

    def request_under(self, unblock_hash: bytes) -> None:
        """Asks for a block under the name of A's, which it somehow knows."""
        self._send(self._block_request_named(unblock_hash))

    def claim_held(self, payer: NodeId, unblock_hash: bytes) -> None:
        """Tells A in the LSP's name that its parts are held; onion messages have no sender."""
        self._number += 1
        update = BlockUpdate(unblock_hash=unblock_hash, state=BlockState.HELD, parts=self._number % 3 + 1)
        self._letters.send_to(self.node, payer, update)

    def pay(self, way: list[SimNode]) -> None:
        """Sends an HTLC with A's payment hash over its own channel; it lacks the payee's secret."""
        channels = [each for each in self.node.channels(self._lsp.id) if each.usable_by(self.node)]
        if not channels or not self.node.running:
            return
        final = self.node.height + 30
        steps = [
            Step(
                each.id,
                AMOUNT_MSAT + (len(way) - 1 - place) * FEE_MSAT,
                final + (len(way) - 1 - place) * DELTA_BLOCKS,
            )
            for place, each in enumerate(way)
        ]
        first, *rest = steps
        htlc = SimHtlc(
            channel=channels[0],
            number=0,
            offerer=self.node,
            payment_hash=self._payment_hash,
            amount_msat=first.amount_msat,
            expiry=first.expiry,
            way=tuple(rest),
            total_msat=1,
        )
        channels[0].add(htlc)

    def announce(self, seal: Callable[[PaymentPending], OnionMessage], proof: bytes | None) -> None:
        """Tells the payee three times that its invoice's payment is held; of the proof it knows nothing."""
        for _ in range(3):
            self._number += 1
            pid = sha256(b"announced %d" % self._number).digest()
            self.announced.add(pid)
            message = PaymentPending(
                pid=pid,
                payment_hashes=(self._payment_hash,),
                amount_msat=2**40,
                release_by_height=self.node.height + 400,
                hold_until=int(self.node.kernel.now) + 86_400,
                invoice_proof=proof,
            )
            self._letters.send(self.node, self._lsp.id, seal(message))

    def flood(self, seal: Callable[[int], OnionMessage], count: int) -> None:
        """Sends many messages to the payee."""
        for _ in range(count):
            self._number += 1
            self._letters.send(self.node, self._lsp.id, seal(self._number))

    def _block_request(self, pid: bytes) -> BlockRequest:
        return self._block_request_named(sha256(pid).digest())

    def _block_request_named(self, unblock_hash: bytes) -> BlockRequest:
        request = BlockRequest(
            unblock_hash=unblock_hash,
            payment_hashes=(self._payment_hash,),
            amount_msat=AMOUNT_MSAT,
            release_by_height=self.node.height + 20,
            hold_until=int(self.node.kernel.now) + 3600,
            signature=UNSIGNED,
        )
        return signed(request, self.node, self._lsp.id)  # type: ignore[no-any-return]

    def _send(self, message: BlockRequest | CancelRequest | PaymentRelease | PaymentRefused) -> None:
        self._letters.send_to_peer(self.node, self._lsp.id, message)
