"""What a payer must not forget: one record for each payment, replaced as a whole and found by its payment hash."""

from dataclasses import dataclass

from asyncpay.engine.payer.stages import Stage
from asyncpay.lightning import NodeId
from asyncpay.wire.messages import BlockState
from asyncpay.wire.onion import OnionMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingPayment:
    """A payment of this wallet. See stages.py.

    All that it will ever send is made, signed and stored with the order, so that whatever is repeated is
    repeated byte for byte.

    payment_hash, pid: 32 bytes each. lsp, payee: node ids, 33 bytes each.
    invoice: BOLT 11 text. description: what the invoice says that it is for.
    max_parts, max_part_msat: into how many parts, and how large ones, the node may split it; None: of any size.
    slack_blocks: added to the final hop's CLTV delta: the time to release, and the payer's own to come back.
    release_by_height, hold_until: the block's deadlines, a height and Unix seconds.
    request, cancel: the signed BlockRequest and CancelRequest, encoded.
    pending: the onion message with payment_pending, for the LSP to forward.
    requests_sent, request_next_at: how often the request was sent (since the node pays), and when it is due again.
    cancelled: the user, or the wallet for lack of answers, wants the parts back.
    cancels_sent, cancel_next_at: likewise of the cancel; None while there is none, or once it is answered.
    begun: whether the node was, or may have been, told to pay.
    unsure_until: Unix seconds, None as long as no order to pay was lost sight of. Before that time such an order may
        still reach the node, so it does not count that the node knows of no payment, or of none any more (paying.py).
    told: what the LSP last said of the block; told_parts: of how many parts.
    preimage: 32 bytes, once SETTLED. failure: for people, once FAILED.
    created_at, ended_at: Unix seconds.
    """

    payment_hash: bytes
    pid: bytes
    lsp: NodeId
    payee: NodeId
    invoice: str
    description: str
    amount_msat: int
    fee_limit_msat: int
    slack_blocks: int
    cltv_limit_blocks: int
    max_parts: int
    max_part_msat: int | None = None
    release_by_height: int
    hold_until: int
    request: bytes
    cancel: bytes
    pending: OnionMessage
    created_at: float
    stage: Stage = Stage.REQUESTED
    requests_sent: int = 0
    request_next_at: float | None = None
    cancelled: bool = False
    cancels_sent: int = 0
    cancel_next_at: float | None = None
    told: BlockState | None = None
    told_parts: int = 0
    preimage: bytes | None = None
    fee_msat: int = 0
    failure: str = ""
    ended_at: float | None = None
    begun: bool = False
    unsure_until: float | None = None

    @property
    def key(self) -> bytes:
        """payment_hash, 32 bytes."""
        return self.payment_hash

    @property
    def may_be_ordered_again(self) -> bool:
        """Whether it has failed before anything left, and the LSP has no block of it left to end."""
        return self.stage is Stage.FAILED and not self.begun and self.cancel_next_at is None
