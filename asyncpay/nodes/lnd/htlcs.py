"""HTLCs that LND forwards: the offers of its interceptor, their resolutions and outcomes."""

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
"""This long before the incoming expiry LND does not offer an HTLC again: after a restart, or a reconnection of the
peer, it fails the HTLC (lncfg.DefaultCltvInterceptDelta; handleExpired in htlcswitch/interceptable_switch.go). HTLCs
that it still holds it fails three blocks later (DefaultFinalCltvRejectDelta).
"""

_BY_NODE_ID = 2**64 - 1
_ACTIONS = {Resolution.RESUME: router.RESUME, Resolution.FAIL: router.FAIL, Resolution.SETTLE: router.SETTLE}


class Interceptor:
    """One `HtlcInterceptor` stream, opened immediately. LND allows only one, and ends it at the first invalid
    resolution; so a resolution that is known to be invalid is not sent.
    """

    def __init__(self, lnd: Connection) -> None:
        self._lnd = lnd
        self._call = lnd.router.HtlcInterceptor()
        self._on_offer: dict[HtlcKey, bool] = {}  # whether it is already on chain
        self._writing = asyncio.Lock()

    async def offers(self) -> AsyncIterator[router.ForwardHtlcInterceptRequest]:
        """Yield LND's offers, until the stream ends."""
        async for offer in self._call:
            self._on_offer[key_of(offer.incoming_circuit_key)] = is_on_chain(offer)
            yield offer

    async def resolve_htlc(self, key: HtlcKey, resolution: Resolution, preimage: bytes | None) -> None:
        """See Node.resolve_htlc."""
        async with self._writing:
            on_chain = self._on_offer.get(key)
            if on_chain is None or self._call.done():
                raise NodeUnreachableError(
                    f"LND at {self._lnd.address} was not asked to {resolution.value} HTLC {key}: "
                    "it does not offer it (any more) on this stream"
                )
            if on_chain and resolution is not Resolution.SETTLE:
                return  # on chain LND accepts only a preimage; otherwise the HTLC times out there
            self.forget(key)
            answer = router.ForwardHtlcInterceptResponse(
                incoming_circuit_key=router.CircuitKey(
                    chan_id=int.from_bytes(key.channel_id, "big"), htlc_id=key.htlc_id
                ),
                action=_ACTIONS[resolution],
                preimage=preimage or b"",
            )
            # If the stream breaks here, LND may have received the resolution: it must not be reported as undelivered.
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await self._call.write(answer)

    def forget(self, key: HtlcKey) -> None:
        """Remove an HTLC that is resolved or gone: LND would end the stream at a (second) resolution."""
        self._on_offer.pop(key, None)

    def check(self) -> None:
        """Raise NodeUnreachableError if LND has already ended the stream."""
        if self._call.done():
            raise NodeUnreachableError(
                f"LND at {self._lnd.address} refuses a second HTLC interceptor: it already has one. "
                "LND notices within 80 s when that one is disconnected"
            )

    def close(self) -> None:
        """End the stream; offered HTLCs stay held if LND runs with --requireinterceptor."""
        self._call.cancel()


def key_of(circuit: router.CircuitKey) -> HtlcKey:
    """Return the key of an HTLC from LND's circuit key."""
    return HtlcKey(channel_id(circuit.chan_id), circuit.htlc_id)


def is_on_chain(offer: router.ForwardHtlcInterceptRequest) -> bool:
    """Return whether the HTLC's incoming channel is closed: then LND's deadline is the HTLC's own expiry."""
    return offer.auto_fail_height >= offer.incoming_expiry


def held_htlc(offer: router.ForwardHtlcInterceptRequest, peer: NodeId) -> HeldHtlc:
    """Return an offered HTLC of `peer`. OutOfRangeError, if it is to be failed: the payer chose outgoing values."""
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
    """Return the outcome of an incoming HTLC in LND's event; None for own payments, and for mere progress."""
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
    """Return an HTLC of an open channel. LND reports its amount in whole satoshis, rounded down."""
    return PendingHtlc(
        key=HtlcKey(channel_id(channel.chan_id), htlc.htlc_index),
        peer=bytes.fromhex(channel.remote_pubkey),
        incoming=htlc.incoming,
        payment_hash=htlc.hash_lock,
        amount_msat=htlc.amount * 1_000,
        expiry=htlc.expiration_height,
    )
