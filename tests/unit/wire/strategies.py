"""Hypothesis strategies: every value that this package can write."""

from hypothesis import strategies as st

from asyncpay.wire import messages as m
from asyncpay.wire.blinding import BlindedHop, BlindedPath, ChannelEnd, HopData
from asyncpay.wire.onion import Payload

from .support import LSP_A, LSP_B, ROUTER, A, B

hashes = st.binary(min_size=32, max_size=32)
points = st.sampled_from([node.id for node in (A, LSP_A, ROUTER, LSP_B, B)])
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
secrets = st.binary(min_size=31, max_size=31).map(lambda tail: b"\1" + tail)


def text(max_bytes: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=max_bytes // 4)


def odd_records(beyond: int, below: int) -> st.SearchStrategy[tuple[tuple[int, bytes], ...]]:
    """Unknown odd records between the known ones of a stream and `below`."""
    types = st.integers(beyond // 2, below // 2 - 1).map(lambda half: 2 * half + 1)
    return st.dictionaries(types, st.binary(max_size=20), max_size=3).map(lambda found: tuple(sorted(found.items())))


signed_unknown = odd_records(4, 10)
unknown = odd_records(10, 2**64)
couriers = st.builds(
    m.Courier,
    path_key=st.binary(min_size=33, max_size=33),
    onion=st.binary(min_size=1366, max_size=1366),
)
node_ids = st.binary(min_size=33, max_size=33)
signatures = st.binary(min_size=65, max_size=65)
payment_hashes = st.lists(hashes, min_size=1, max_size=4).map(tuple)

messages: st.SearchStrategy[m.Message] = st.one_of(
    st.builds(
        m.BlockRequest,
        unblock_hash=hashes,
        courier=st.none() | couriers,
        payment_hashes=payment_hashes,
        invoice=st.none() | text(m.MAX_INVOICE_BYTES),
        amount_msat=u64,
        release_by_height=u32,
        hold_until=u64,
        signature=signatures,
        unknown_records=signed_unknown,
    ),
    st.builds(
        m.BlockReply,
        unblock_hash=hashes,
        reason=st.none() | text(m.MAX_REASON_BYTES),
        status=st.sampled_from(m.BlockStatus),
        unknown_records=unknown,
    ),
    st.builds(
        m.BlockUpdate,
        unblock_hash=hashes,
        state=st.sampled_from(m.BlockState),
        parts=u32,
        unknown_records=unknown,
    ),
    st.builds(
        m.PaymentPending,
        pid=hashes,
        payer_lsp_node_id=st.none() | node_ids,
        payment_hashes=payment_hashes,
        payer_node_id=st.none() | node_ids,
        amount_msat=u64,
        release_by_height=u32,
        hold_until=u64,
        invoice_proof=st.none() | hashes,
        unknown_records=unknown,
    ),
    st.builds(m.PaymentRelease, pid=hashes, unknown_records=unknown),
    st.builds(
        m.ReleaseReply,
        unblock_hash=hashes,
        status=st.sampled_from(m.ReleaseStatus),
        unknown_records=unknown,
    ),
    st.builds(m.CancelRequest, unblock_hash=hashes, signature=signatures, unknown_records=signed_unknown),
    st.builds(
        m.PaymentRefused,
        pid=hashes,
        reason=st.none() | text(m.MAX_REASON_BYTES),
        unknown_records=unknown,
    ),
)

blinded_paths = st.builds(
    BlindedPath,
    first_node_id=points | st.builds(ChannelEnd, st.integers(0, 1), u64),
    first_path_key=points,
    hops=st.lists(st.builds(BlindedHop, points, st.binary(max_size=80)), min_size=1, max_size=6).map(tuple),
)

opaque = st.none() | st.binary(max_size=60)
hop_data = st.builds(
    HopData,
    padding=opaque,
    short_channel_id=st.none() | u64,
    next_node_id=st.none() | points,
    path_id=opaque,
    next_path_key_override=st.none() | points,
    payment_relay=opaque,
    payment_constraints=opaque,
    allowed_features=opaque,
    payment_unblock=st.none() | hashes,
    unknown_records=odd_records(14, 180000),
)
payloads = st.builds(
    Payload,
    reply_path=st.none() | blinded_paths,
    encrypted_recipient_data=opaque,
    invoice_request=opaque,
    invoice=opaque,
    invoice_error=opaque,
    async_payment=opaque,
    unknown_records=odd_records(68, 180000),
)
