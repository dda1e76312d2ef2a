"""What the blocks say of channels and HTLCs, in the scripts of BOLT 3."""

import json
from hashlib import new, sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.services.bitcoind import BLOCKS_AT_START
from harness.timeline import on_chain, recording
from harness.timeline.channel_ids import channel_id
from harness.timeline.model import Kind
from harness.timeline.on_chain import CLAIMED, CLOSING, COMMITMENT, TIMED_OUT, ChainTransaction, OnChain, Spend
from harness.timeline.story import tell
from harness.timeline.text import STYLES, event_line

RECORDINGS = Path(__file__).parent / "recordings"
SIGNATURE = "30" + "44" * 70
FUNDING_SCRIPT = "5221" + "02" * 33 + "21" + "03" * 33 + "52ae"
PREIMAGE = "07" * 32
HASH = sha256(bytes.fromhex(PREIMAGE)).hexdigest()
FUNDING, COMMITTED, ENDED = "f0" * 32, "c0" * 32, "e0" * 32


def htlc_script(payment_hash: str) -> str:
    """An offered HTLC's, with anchors."""
    of_hash = new("ripemd160", bytes.fromhex(payment_hash)).hexdigest()
    key = "21" + "02" * 33
    return f"76a914{'aa' * 20}8763ac67{key}7c820120876475527c{key}52ae67a914{of_hash}88ac6851b27568"


def funding(height: int = 131, index: int = 4) -> ChainTransaction:
    return ChainTransaction(height_blocks=height, index=index, time=1_000, txid=FUNDING)


def closing(output: int = 1, locktime: int = 0x20ABCDEF, sequence: int = 0x80ABCDEF) -> ChainTransaction:
    spend = Spend(txid=FUNDING, output=output, sequence=sequence, witness=("", SIGNATURE, SIGNATURE, FUNDING_SCRIPT))
    return ChainTransaction(height_blocks=140, index=1, time=2_000, txid=COMMITTED, locktime=locktime, spends=(spend,))


def ending(*witness: str, locktime: int = 0) -> ChainTransaction:
    spend = Spend(txid=COMMITTED, output=2, witness=witness)
    return ChainTransaction(height_blocks=141, index=1, time=3_000, txid=ENDED, locktime=locktime, spends=(spend,))


def told(*mined: ChainTransaction, hashes: tuple[str, ...] = ()) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(each.what, each.channel, each.payment_hashes) for each in OnChain(mined, {}).events(hashes)]


@pytest.mark.parametrize(
    ("locktime", "sequence", "what"),
    [
        (0x20ABCDEF, 0x80ABCDEF, COMMITMENT),
        (0, 0xFFFFFFFD, CLOSING),
        (140, 0xFFFFFFFE, CLOSING),
        (0x21ABCDEF, 0x80ABCDEF, CLOSING),
        (0x1FABCDEF, 0x80ABCDEF, CLOSING),
        (0x20ABCDEF, 0x81ABCDEF, CLOSING),
        (0x20ABCDEF, 0x7FABCDEF, CLOSING),
    ],
)
def test_a_channel_is_closed_by_its_commitment_or_otherwise(locktime: int, sequence: int, what: str) -> None:
    assert told(funding(), closing(1, locktime, sequence)) == [(what, "131x4x1", ())]


def test_a_closed_channel_keeps_its_name() -> None:
    assert OnChain([funding(), closing()], {}).channels() == {channel_id(f"{FUNDING}:1"): "131x4x1"}
    assert OnChain([closing()], {}).channels() == {}, "the funding transaction is in no block that is known"


@pytest.mark.parametrize(
    "witness",
    [
        ("", SIGNATURE, SIGNATURE, PREIMAGE),  # an HTLC-success transaction
        (SIGNATURE, PREIMAGE),  # claimed on the other side's commitment
    ],
)
def test_an_htlc_is_claimed_with_its_preimage(witness: tuple[str, ...]) -> None:
    claimed = ending(*witness, htlc_script(HASH))
    assert told(funding(), closing(), claimed)[1:] == [(CLAIMED, "131x4x1", (HASH,))]


@pytest.mark.parametrize("witness", [("", SIGNATURE, SIGNATURE, ""), (SIGNATURE, "")])
def test_an_htlc_that_timed_out_is_known_by_its_script(witness: tuple[str, ...]) -> None:
    ended = ending(*witness, htlc_script(HASH), locktime=500)
    assert told(funding(), closing(), ended, hashes=("ab" * 32, HASH))[1:] == [(TIMED_OUT, "131x4x1", (HASH,))]
    assert told(funding(), closing(), ended)[1:] == [(TIMED_OUT, "131x4x1", ())], "a hash that nobody has named"


def test_what_is_no_end_of_an_htlc_is_left_out() -> None:
    ours, anchor = "63" + "21" + "02" * 33 + "68ac", "21" + "03" * 33 + "ac736460b268"
    for witness in ((SIGNATURE, "", ours), (SIGNATURE, anchor), (SIGNATURE, "02" * 33, htlc_script(HASH)), ()):
        assert len(told(funding(), closing(), ending(*witness))) == 1, witness
    assert told(ending(SIGNATURE, PREIMAGE, htlc_script(HASH))) == [], "of no commitment that is known"
    assert told(ending("", SIGNATURE, SIGNATURE, "5121" + "02" * 33 + "51ae")) == [], "of no channel"
    wrong = ending(SIGNATURE, "08" * 32, htlc_script(HASH))
    assert told(funding(), closing(), wrong)[1:] == [(TIMED_OUT, "131x4x1", ())], "not the preimage of this hash"


def test_the_time_is_that_at_which_the_block_arrived() -> None:
    (event,) = OnChain([funding(), closing()], {140: 77.5}).events(())
    assert (event.time, event.height_blocks, COMMITTED in event.text) == (77.5, 140, True)


def test_an_htlc_in_flight_ends_on_chain() -> None:
    """A recorded run whose first hop is never settled by a message, because its channel is closed."""
    recorded = recording.read(RECORDINGS / "lnd")
    for service, log in recorded.logs.items():
        lines = log.splitlines(keepends=True)
        recorded.logs[service] = b"".join(line for line in lines if b"UpdateFulfillHTLC" not in line)
    first = tell(recorded).htlcs[0]
    assert (first.end, first.payment_hash is None) == ("", False)
    height, index, output = map(int, first.channel.split("x"))
    expired = ending(SIGNATURE, "", htlc_script(first.payment_hash or ""), locktime=500)
    recorded.context.transactions = [funding(height, index), closing(output), expired]
    story = tell(recorded)
    assert (story.htlcs[0].end, story.htlcs[0].ended) == (TIMED_OUT, 3_000)
    assert {htlc.end for htlc in story.htlcs[1:]} == {""}
    assert [event.what for event in story.events if event.kind == "on chain"] == [COMMITMENT, TIMED_OUT]


def test_a_claim_on_a_real_lnd() -> None:
    """The payer's LND closed its channel; the LSP's LND claimed the HTLC on it, and swept its anchor in another one."""
    said = json.loads((RECORDINGS / "claimed-on-lnd.json").read_text())
    mined = [ChainTransaction.model_validate(each) for each in said]
    assert told(*mined) == [
        (COMMITMENT, "132x3x1", ()),
        (CLAIMED, "132x3x1", ("9329130da18cd3706055950fd02987974186f560e031871e3daea306320ad9f7",)),
    ]


def test_every_kind_of_event_can_be_shown() -> None:
    assert STYLES.keys() == set(Kind)
    (event,) = OnChain([funding(), closing()], {}).events(())
    assert "commitment transaction" in event_line(event).plain


class PlayedChain:
    """A bitcoind whose last two blocks have a funding transaction and its close. It counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def call(self, *question: Any) -> Any:
        self.asked.append(question)
        if question[0] == "getbestblockhash":
            return str(BLOCKS_AT_START + 3)
        height, kinds = int(question[1]), {"sequence": 0, "scriptSig": {}}
        spent = closing().spends[0]
        funds = {"txid": FUNDING, "locktime": 0, "vin": [{"txid": "ee" * 32, "vout": 0} | kinds], "vout": []}
        vin = {
            "txid": FUNDING,
            "vout": 1,
            "sequence": spent.sequence,
            "txinwitness": list(spent.witness),
            "scriptSig": {},
        }
        closes = {"txid": COMMITTED, "locktime": 0x20ABCDEF, "vin": [vin], "vout": []}
        mined = {BLOCKS_AT_START + 2: [funds], BLOCKS_AT_START + 3: [closes]}.get(height, [])
        coinbase = {"txid": "cb" * 32, "vin": [{"coinbase": "00"}]}
        return {"height": height, "time": 5, "tx": [coinbase, *mined], "previousblockhash": str(height - 1)}


def test_the_blocks_since_the_first_ones_are_read_once_each() -> None:
    chain = PlayedChain()
    found = on_chain.transactions(chain)  # type: ignore[arg-type]
    assert [(each.txid, each.height_blocks, each.index) for each in found] == [
        (FUNDING, BLOCKS_AT_START + 2, 1),
        (COMMITTED, BLOCKS_AT_START + 3, 1),
    ]
    assert found[1].spends == closing().spends
    assert len(chain.asked) == 1 + 4, "the last block, and four of them"
    assert told(*found) == [(COMMITMENT, f"{BLOCKS_AT_START + 2}x1x1", ())]


@pytest.mark.parametrize("witness", [("ab" * 200_000,), ("00",) * 1_000])
def test_a_huge_witness_which_anybody_can_mine_hides_nothing_else(witness: tuple[str, ...]) -> None:
    chain = PlayedChain()
    ask = chain.call

    def call(*question: Any) -> Any:
        answer = ask(*question)
        if question[0] == "getblock":
            spend = {"txid": "aa" * 32, "vout": 0, "sequence": 0, "txinwitness": list(witness)}
            answer["tx"].append({"txid": f"{answer['height']:064x}", "locktime": 0, "vin": [spend] * 2_000})
        return answer

    chain.call = call  # type: ignore[method-assign]
    assert told(*on_chain.transactions(chain)) == [(COMMITMENT, f"{BLOCKS_AT_START + 2}x1x1", ())]  # type: ignore[arg-type]


def test_no_more_than_the_last_blocks_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_chain, "MOST_BLOCKS", 1)
    assert [each.txid for each in on_chain.transactions(PlayedChain())] == [COMMITTED]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("height", "said"),
    [
        (BLOCKS_AT_START + on_chain.MOST_BLOCKS, None),
        (BLOCKS_AT_START + on_chain.MOST_BLOCKS + 1, f"up to block {BLOCKS_AT_START + 1} is omitted"),
    ],
)
def test_blocks_that_are_left_out_are_a_problem(height: int, said: str | None) -> None:
    found = on_chain.omitted(SimpleNamespace(height_blocks=height))  # type: ignore[arg-type]
    assert (found is None) if said is None else (found is not None and said in found)


@pytest.mark.parametrize(
    "damage",
    [
        {"height_blocks": -1},
        {"txid": "x"},
        {"time": 10**12},
        {"spends": [{"txid": FUNDING, "output": 70_000}]},
        {"locktime": 2**32},
    ],
)
def test_a_recording_with_impossible_transactions_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ChainTransaction.model_validate(closing().model_dump() | damage)


@given(
    st.lists(
        st.lists(
            st.sampled_from(["", SIGNATURE, PREIMAGE, "zz", FUNDING_SCRIPT, htlc_script(HASH), "02" * 33]), max_size=5
        )
    )
)
def test_no_witness_is_a_surprise(witnesses: list[list[str]]) -> None:
    mined = [funding(), closing()]
    for number, witness in enumerate(witnesses):
        spends = tuple(Spend(txid=txid, output=0, witness=tuple(witness)) for txid in (FUNDING, COMMITTED))
        mined.append(ChainTransaction(height_blocks=150, index=number, time=1, txid=f"{number:064x}", spends=spends))
    assert all(event.kind == "on chain" for event in OnChain(mined, {}).events((HASH,)))
