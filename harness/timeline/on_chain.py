"""Channels that are closed on chain, and HTLCs that end there, from the transactions of the testbed's blocks.

A transaction that spends a funding output shows the 2-of-2 script of BOLT 3 in its witness, so no node has to name its
channels. Of a commitment transaction's outputs, those with an HTLC are recognised when they are spent: the script has
RIPEMD160(payment_hash), and the witness has the preimage, unless the HTLC has timed out.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from harness.services.bitcoind import BLOCKS_AT_START, Chain
from harness.timeline.chain import LANE
from harness.timeline.channel_ids import channel_id
from harness.timeline.model import Event, Kind

MOST_BLOCKS = 1_000
"""Earlier blocks are left out: a test mines thousands to let something expire."""
MOST_TRANSACTIONS = 10_000
MOST_HASHES = 100_000
MOST_SPENDS, MOST_WITNESS_ITEMS, MOST_WITNESS_CHARACTERS = 1_000, 100, 20_000
"""Limits of the inputs of a transaction that are looked at. Those of BOLT 3 are far below them."""
COMMITMENT, CLOSING = "commitment transaction", "cooperative close or splice"
CLAIMED, TIMED_OUT = "claimed on chain", "timed out on chain"
_FUNDING_SCRIPT = re.compile(r"5221[0-9a-f]{66}21[0-9a-f]{66}52ae")
_HTLC_SCRIPT = re.compile(r"76a914[0-9a-f]{40}87.*?a914([0-9a-f]{40})88")
"""Both kinds of HTLC output: `OP_DUP OP_HASH160 <revocation> OP_EQUAL ... OP_HASH160 <payment> OP_EQUALVERIFY`."""
_PREIMAGE = re.compile(r"[0-9a-f]{64}")
_REVOCATION_KEY = re.compile(r"0[23][0-9a-f]{64}")
"""In the witness of a penalty transaction, which is no end of a payment."""

Txid = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[int, Field(ge=0, lt=2**32)]
Output = Annotated[int, Field(ge=0, lt=2**16)]


class Spend(BaseModel):
    """An input: the output that it spends, and its witness, each item in hex."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    txid: Txid
    output: Output
    sequence: Number = 0
    witness: tuple[Annotated[str, Field(max_length=MOST_WITNESS_CHARACTERS)], ...] = Field(
        default=(), max_length=MOST_WITNESS_ITEMS
    )


class ChainTransaction(BaseModel):
    """A transaction in a block, the coinbases left out. index: its place in the block; time: the block's (Unix)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    height_blocks: Number
    index: Number
    time: Annotated[int, Field(ge=0, le=10**11)]
    txid: Txid
    locktime: Number = 0
    spends: tuple[Spend, ...] = Field(default=(), max_length=MOST_SPENDS)


def transactions(chain: Chain) -> list[ChainTransaction]:
    """What the blocks since the testbed's first ones hold, oldest first. Raises NodeError."""
    found: list[ChainTransaction] = []
    block_hash = chain.call("getbestblockhash")
    for _ in range(MOST_BLOCKS):  # from the last one back: one call for each
        block = chain.call("getblock", block_hash, 2)
        if block["height"] <= BLOCKS_AT_START:
            break
        found += reversed(_transactions(block))
        block_hash = block["previousblockhash"]
    return found[:MOST_TRANSACTIONS][::-1]


def omitted(chain: Chain) -> str | None:
    """Return a sentence about the blocks that `transactions` leaves out; None: there are none. Raises NodeError."""
    last = chain.height_blocks - MOST_BLOCKS
    if last <= BLOCKS_AT_START:
        return None
    return f"what happened on chain up to block {last} is omitted: only the last {MOST_BLOCKS} blocks are read"


def transactions_of(chain: Chain, block_hash: str) -> list[ChainTransaction]:
    """Return the transactions of one block, without the coinbase. Raises NodeError."""
    return _transactions(chain.call("getblock", block_hash, 2))


def _transactions(block: Mapping[str, Any]) -> list[ChainTransaction]:
    return [_transaction(block, index) for index in range(1, len(block["tx"]))]


def _transaction(block: Mapping[str, Any], index: int) -> ChainTransaction:
    mined = block["tx"][index]
    spends = tuple(
        Spend(
            txid=spent["txid"],
            output=spent["vout"],
            sequence=spent["sequence"],
            witness=_witness(spent.get("txinwitness", ())),
        )
        for spent in mined["vin"][:MOST_SPENDS]
    )
    return ChainTransaction(
        height_blocks=block["height"],
        index=index,
        time=block["time"],
        txid=mined["txid"],
        locktime=mined["locktime"],
        spends=spends,
    )


def _witness(items: Sequence[str]) -> tuple[str, ...]:
    """Return a witness; an empty one instead of one beyond the limits, which any user of the chain can mine."""
    bounded = len(items) <= MOST_WITNESS_ITEMS and all(len(item) <= MOST_WITNESS_CHARACTERS for item in items)
    return tuple(items) if bounded else ()


class Closes:
    """The closes of channels and the ends of HTLCs, found transaction by transaction, in the order of the chain.

    channels: short_channel_id by channel_id (BOLT 2), of channels whose funding transaction may be in no such
    transaction. It remembers the last MOST_TRANSACTIONS transactions, and the last MOST_HASHES payment hashes.
    """

    def __init__(self, channels: Mapping[str, str]) -> None:
        self._channels = channels
        self._places: dict[str, tuple[int, int]] = {}
        self._closed: dict[str, str] = {}
        """By the closing transaction: the channel's short_channel_id."""
        self._by_script: dict[str, str] = {}

    def add_hash(self, payment_hash: str) -> None:
        """Add a payment hash that an HTLC may have whose preimage is not in the witness."""
        _remember(self._by_script, _ripemd160(bytes.fromhex(payment_hash)), payment_hash, MOST_HASHES)

    def take(self, mined: ChainTransaction, time: float) -> list[Event]:
        """Return the events of a transaction; time: when its block arrived (Unix seconds)."""
        _remember(self._places, mined.txid, (mined.height_blocks, mined.index))
        found = []
        for spend in mined.spends:
            if _is_close(spend):
                _remember(self._closed, mined.txid, self._short_channel_id(spend))
                commitment = mined.locktime >> 24 == 0x20 and spend.sequence >> 24 == 0x80
                what = COMMITMENT if commitment else CLOSING
                found.append(_event(mined, time, what, self._closed[mined.txid]))
            elif spend.txid in self._closed and (ended := _htlc_end(spend, self._by_script)):
                found.append(_event(mined, time, ended[0], self._closed[spend.txid], ended[1]))
        return found

    def _short_channel_id(self, spend: Spend) -> str:
        """Return an empty string for an unknown channel."""
        if place := self._places.get(spend.txid):
            return f"{place[0]}x{place[1]}x{spend.output}"
        return self._channels.get(channel_id(f"{spend.txid}:{spend.output}"), "")


class OnChain:
    """The events of these transactions. tips: when each block arrived, by its height, if bitcoind's log has it."""

    def __init__(self, mined: Iterable[ChainTransaction], tips: Mapping[int, float]) -> None:
        self._mined = list(mined)
        self._tips = tips

    def channels(self) -> dict[str, str]:
        """The short_channel_id of each closed channel, by LND's channel_id: no node lists it any more."""
        places = {each.txid: (each.height_blocks, each.index) for each in self._mined}
        closes = (spend for each in self._mined for spend in each.spends if _is_close(spend) and spend.txid in places)
        return {
            channel_id(f"{spend.txid}:{spend.output}"): "{}x{}x{}".format(*places[spend.txid], spend.output)
            for spend in closes
        }

    def events(self, payment_hashes: Iterable[str]) -> Iterator[Event]:
        """Closes, and the ends of HTLCs, in order. payment_hashes: those that an HTLC without its preimage may have."""
        closes = Closes({})
        for each in payment_hashes:
            closes.add_hash(each)
        for mined in self._mined:
            yield from closes.take(mined, self._tips.get(mined.height_blocks, float(mined.time)))


Value = TypeVar("Value")


def _remember(known: dict[str, Value], key: str, value: Value, most: int = MOST_TRANSACTIONS) -> None:
    """Add a value; drop the oldest one if there are more than `most`."""
    known[key] = value
    if len(known) > most:
        del known[next(iter(known))]


def _event(mined: ChainTransaction, time: float, what: str, channel: str, payment_hash: str = "") -> Event:
    of = f"{'an HTLC of ' if what in (CLAIMED, TIMED_OUT) else ''}channel {channel or '?'}"
    return Event(
        time=time,
        lane=LANE,
        kind=Kind.CHAIN,
        what=what,
        text=f"{of}, in block {mined.height_blocks}: {mined.txid}",
        source=LANE,
        channel=channel,
        payment_hashes=(payment_hash,) if payment_hash else (),
        height_blocks=mined.height_blocks,
    )


def _is_close(spend: Spend) -> bool:
    return len(spend.witness) == 4 and _FUNDING_SCRIPT.fullmatch(spend.witness[-1]) is not None


def _htlc_end(spend: Spend, by_script: Mapping[str, str]) -> tuple[str, str] | None:
    """How the HTLC ended whose output is spent, and its payment hash, which may be unknown; None: it is none."""
    script = _HTLC_SCRIPT.match(spend.witness[-1]) if spend.witness else None
    if script is None:
        return None
    for item in spend.witness[:-1]:
        if _PREIMAGE.fullmatch(item):
            payment_hash = hashlib.sha256(bytes.fromhex(item)).hexdigest()
            if _ripemd160(bytes.fromhex(payment_hash)) in ("", script[1]):
                return CLAIMED, payment_hash
        if _REVOCATION_KEY.fullmatch(item):
            return None
    return TIMED_OUT, by_script.get(script[1], "")


def _ripemd160(value: bytes) -> str:
    """In hex; empty where OpenSSL is built without it."""
    try:
        return hashlib.new("ripemd160", value).hexdigest()
    except ValueError:
        return ""
