"""HTLCs on their way through LND: offered by its interceptor, answered, and what became of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc

from asyncpay.lightning import HeldHtlc, HtlcKey, NodeId, PendingHtlc, Resolution, ShortChannelId
from asyncpay.node_events import HtlcFailed, HtlcGone, HtlcSettled
from asyncpay.nodes.base import NodeUnreachableError
from asyncpay.nodes.lnd.channels import channel_id
from asyncpay.nodes.lnd.connection import Connection
from asyncpay.nodes.numbers import AMOUNT_MSAT
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.nodes.proto import router_pb2 as router

CUTOFF_BLOCKS = 22
"""LND takes no answer on an HTLC that comes back this long before its incoming expiry: restarted, or with its peer
reconnected, it fails it instead of offering it again (lncfg.DefaultCltvInterceptDelta; interceptable_switch.go in its
htlcswitch, handleExpired). What it still holds it fails three blocks later (DefaultFinalCltvRejectDelta).
"""

_BY_NODE_ID = 2**64 - 1
_ACTIONS = {Resolution.RESUME: router.RESUME, Resolution.FAIL: router.FAIL, Resolution.SETTLE: router.SETTLE}


class Interceptor:
    """One `HtlcInterceptor` stream, opened at once. LND has room for one, and ends it at the first answer that it
    cannot use; so what is known to be no use is not sent.
    """

    def __init__(self, lnd: Connection) -> None:
        self._lnd = lnd
        self._call = lnd.router.HtlcInterceptor()
        self._on_offer: dict[HtlcKey, bool] = {}  # whether it is on chain already
        self._writing = asyncio.Lock()

    async def offers(self) -> AsyncIterator[router.ForwardHtlcInterceptRequest]:
        """Everything that LND offers, until the stream ends."""
        async for offer in self._call:
            self._on_offer[key_of(offer.incoming_circuit_key)] = is_on_chain(offer)
            yield offer

    async def resolve_htlc(self, key: HtlcKey, resolution: Resolution, preimage: bytes | None) -> None:
        """See Node.resolve_htlc."""
        async with self._writing:
            on_chain = self._on_offer.get(key)
            if on_chain is None or self._call.done():
                raise NodeUnreachableError(
                    f"LND at {self._lnd.address} was not told to {resolution.value} HTLC {key}: "
                    "it does not offer it (any more) on this stream"
                )
            if on_chain and resolution is not Resolution.SETTLE:
                return  # there LND accepts a preimage only; the chain does the rest
            self.forget(key)
            answer = router.ForwardHtlcInterceptResponse(
                incoming_circuit_key=router.CircuitKey(
                    chan_id=int.from_bytes(key.channel_id, "big"), htlc_id=key.htlc_id
                ),
                action=_ACTIONS[resolution],
                preimage=preimage or b"",
            )
            # If the stream breaks here, the answer may have got through: that must not be called undelivered.
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await self._call.write(answer)

    def forget(self, key: HtlcKey) -> None:
        """The HTLC is answered or gone, so to answer it (again) would end the stream."""
        self._on_offer.pop(key, None)

    def check(self) -> None:
        """NodeUnreachableError if LND has ended the stream already."""
        if self._call.done():
            raise NodeUnreachableError(
                f"LND at {self._lnd.address} does not take us as its HTLC interceptor: it has one already, "
                "which is noticed to be gone within 80 s"
            )

    def close(self) -> None:
        """End the stream; what is on offer stays held if LND runs with --requireinterceptor."""
        self._call.cancel()


def key_of(circuit: router.CircuitKey) -> HtlcKey:
    """LND's name for an HTLC is ours."""
    return HtlcKey(channel_id(circuit.chan_id), circuit.htlc_id)


def is_on_chain(offer: router.ForwardHtlcInterceptRequest) -> bool:
    """Whether the incoming channel was closed with this HTLC on it: LND's deadline then is the HTLC's own expiry."""
    return offer.auto_fail_height >= offer.incoming_expiry


def held_htlc(offer: router.ForwardHtlcInterceptRequest, peer: NodeId) -> HeldHtlc:
    """What LND offers, sent by `peer`. OutOfRangeError, if it is to be failed: the payer has chosen outgoing values."""
    by_channel = offer.outgoing_requested_chan_id != _BY_NODE_ID
    return HeldHtlc(
        key=key_of(offer.incoming_circuit_key),
        payment_hash=offer.payment_hash,
        peer=peer,
        incoming_amount_msat=AMOUNT_MSAT(offer.incoming_amount_msat),
        outgoing_amount_msat=AMOUNT_MSAT(offer.outgoing_amount_msat),
        incoming_expiry=offer.incoming_expiry,
        outgoing_expiry=offer.outgoing_expiry,
        outgoing_channel=ShortChannelId(offer.outgoing_requested_chan_id) if by_channel else None,
        outgoing_node=offer.outgoing_requested_node_id or None,
    )


def outcome(event: router.HtlcEvent) -> HtlcSettled | HtlcFailed | HtlcGone | None:
    """What an event of LND says about an incoming HTLC; None for own payments, and for mere progress."""
    key = HtlcKey(channel_id(event.incoming_channel_id), event.incoming_htlc_id)
    match event.WhichOneof("event"), event.event_type:
        case "final_htlc_event", _:
            return HtlcGone(key)
        case "settle_event", router.HtlcEvent.FORWARD:
            return HtlcSettled(key, event.settle_event.preimage)
        case "forward_fail_event" | "link_fail_event", router.HtlcEvent.FORWARD:
            return HtlcFailed(key)
    return None


def pending_htlc(channel: ln.Channel, htlc: ln.HTLC) -> PendingHtlc:
    """An HTLC on an open channel. LND tells its amount in whole satoshis, rounded down."""
    return PendingHtlc(
        key=HtlcKey(channel_id(channel.chan_id), htlc.htlc_index),
        peer=bytes.fromhex(channel.remote_pubkey),
        incoming=htlc.incoming,
        payment_hash=htlc.hash_lock,
        amount_msat=htlc.amount * 1_000,
        expiry=htlc.expiration_height,
    )
