"""Channels that are closed on chain, and HTLCs that end there, from the transactions of the testbed's blocks.

A transaction that spends a funding output shows the 2-of-2 script of BOLT 3 in its witness, so no node has to name its
channels. Of a commitment transaction's outputs, those with an HTLC are recognised when they are spent: the script has
RIPEMD160(payment_hash), and the witness has the preimage, unless the HTLC has timed out.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from harness.services.bitcoind import BLOCKS_AT_START, Chain
from harness.timeline.chain import LANE
from harness.timeline.channel_ids import channel_id
from harness.timeline.model import Event, Kind

MOST_BLOCKS = 1_000
"""Earlier blocks are left out: a test mines thousands to let something expire."""
MOST_TRANSACTIONS = 10_000
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
    witness: tuple[Annotated[str, Field(max_length=20_000)], ...] = Field(default=(), max_length=100)


class ChainTransaction(BaseModel):
    """A transaction in a block, the coinbases left out. index: its place in the block; time: the block's (Unix)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    height_blocks: Number
    index: Number
    time: Annotated[int, Field(ge=0, le=10**11)]
    txid: Txid
    locktime: Number = 0
    spends: tuple[Spend, ...] = Field(default=(), max_length=1_000)


def transactions(chain: Chain) -> list[ChainTransaction]:
    """What the blocks since the testbed's first ones hold, oldest first. Raises NodeError."""
    found: list[ChainTransaction] = []
    block_hash = chain.call("getbestblockhash")
    for _ in range(MOST_BLOCKS):  # from the last one back: one call for each
        block = chain.call("getblock", block_hash, 2)
        if block["height"] <= BLOCKS_AT_START:
            break
        found += reversed([_transaction(block, index) for index in range(1, len(block["tx"]))])
        block_hash = block["previousblockhash"]
    return found[:MOST_TRANSACTIONS][::-1]


def _transaction(block: Mapping[str, Any], index: int) -> ChainTransaction:
    mined = block["tx"][index]
    spends = tuple(
        Spend(
            txid=spent["txid"],
            output=spent["vout"],
            sequence=spent["sequence"],
            witness=tuple(spent.get("txinwitness", ())),
        )
        for spent in mined["vin"]
    )
    return ChainTransaction(
        height_blocks=block["height"],
        index=index,
        time=block["time"],
        txid=mined["txid"],
        locktime=mined["locktime"],
        spends=spends,
    )


class OnChain:
    """What these transactions say. tips: when each block arrived, by its height, where bitcoind's log says so."""

    def __init__(self, mined: Iterable[ChainTransaction], tips: Mapping[int, float]) -> None:
        self._mined = list(mined)
        self._tips = tips
        self._place = {each.txid: (each.height_blocks, each.index) for each in self._mined}

    def channels(self) -> dict[str, str]:
        """The short_channel_id of each closed channel, by LND's channel_id: no node lists it any more."""
        closes = (
            (spend, self._short_channel_id(spend)) for each in self._mined for spend in each.spends if _is_close(spend)
        )
        return {channel_id(f"{spend.txid}:{spend.output}"): name for spend, name in closes if name}

    def events(self, payment_hashes: Iterable[str]) -> Iterator[Event]:
        """Closes, and the ends of HTLCs, in order. payment_hashes: those that an HTLC without its preimage may have."""
        by_script = {_ripemd160(bytes.fromhex(each)): each for each in payment_hashes}
        closed: dict[str, str] = {}
        for each in self._mined:
            for spend in each.spends:
                if _is_close(spend):
                    closed[each.txid] = self._short_channel_id(spend)
                    commitment = each.locktime >> 24 == 0x20 and spend.sequence >> 24 == 0x80
                    yield self._event(each, COMMITMENT if commitment else CLOSING, closed[each.txid])
                elif spend.txid in closed and (ended := _htlc_end(spend, by_script)):
                    yield self._event(each, ended[0], closed[spend.txid], ended[1])

    def _event(self, mined: ChainTransaction, what: str, channel: str, payment_hash: str = "") -> Event:
        of = f"{'an HTLC of ' if payment_hash or what in (CLAIMED, TIMED_OUT) else ''}channel {channel or '?'}"
        return Event(
            time=self._tips.get(mined.height_blocks, float(mined.time)),
            lane=LANE,
            kind=Kind.CHAIN,
            what=what,
            text=f"{of}, in block {mined.height_blocks}: {mined.txid}",
            source=LANE,
            channel=channel,
            payment_hashes=(payment_hash,) if payment_hash else (),
            height_blocks=mined.height_blocks,
        )

    def _short_channel_id(self, spend: Spend) -> str:
        """Empty if the funding transaction is in none of the blocks."""
        place = self._place.get(spend.txid)
        return "" if place is None else f"{place[0]}x{place[1]}x{spend.output}"


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
