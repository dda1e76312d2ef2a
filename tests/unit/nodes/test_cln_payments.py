"""What CLN's parts amount to, and what is asked of askrene."""

from pathlib import Path
from typing import Any

import pytest

from asyncpay.lightning import Invoice, PaymentResult, PaymentStatus
from asyncpay.nodes.base import BLINDED_PATHS_REFUSED, Payment
from asyncpay.nodes.cln import channels, invoices, payments, routes
from asyncpay.nodes.cln.rpc import ClnRefusedError, Rpc

pytestmark = pytest.mark.anyio
PAYEE = "02" * 33
OWN_ID = "07" * 33
DECODED: dict[str, Any] = {
    "type": "bolt11 invoice",
    "valid": True,
    "currency": "bcrt",
    "created_at": 1_000,
    "expiry": 60,
    "payee": PAYEE,
    "payment_hash": "ab" * 32,
    "payment_secret": "cd" * 32,
    "min_final_cltv_expiry": 18,
    "features": "024100",  # basic_mpp
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def part(status: str, **changes: Any) -> dict[str, Any]:
    return {"status": status, "amount_msat": 1_000, "amount_sent_msat": 1_010} | changes


def order(**changes: Any) -> Payment:
    values: dict[str, Any] = {
        "invoice": invoices.invoice("lnbcrt1", DECODED),
        "amount_msat": 5_000,
        "fee_limit_msat": 10,
        "cltv_limit_blocks": 3_000,
        "slack_blocks": 144,
    }
    return Payment(**(values | changes))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], PaymentResult(status=PaymentStatus.UNKNOWN)),
        ([part("failed")], PaymentResult(status=PaymentStatus.FAILED, failure="every part of it failed")),
        (
            [part("failed"), part("pending"), part("pending")],
            PaymentResult(status=PaymentStatus.IN_FLIGHT, parts_in_flight=2, in_flight_msat=2_000),
        ),
        (
            [part("failed"), part("complete", payment_preimage="cd" * 32), part("pending")],
            PaymentResult(
                status=PaymentStatus.SUCCEEDED,
                preimage=b"\xcd" * 32,
                fee_msat=20,
                parts_in_flight=1,
                in_flight_msat=1_000,
            ),
        ),
    ],
    ids=["none", "failed", "in flight", "one preimage is enough"],
)
def test_where_a_payment_stands(parts: list[dict[str, Any]], said: PaymentResult) -> None:
    assert payments.result(parts) == said


def test_the_slack_is_at_the_end_of_the_route() -> None:
    request = routes.request(order(), DECODED, "layer", "03" * 33)
    assert request["final_cltv"] == 18 + 144 + 2
    assert request["maxdelay"] == 2_016 - 1
    assert request["maxparts"] == 16
    assert request["layers"] == ["auto.localchans", "auto.sourcefree", "layer"]


@pytest.mark.parametrize(("max_parts", "features"), [(1, "024100"), (16, "4100"), (16, "")])
def test_one_part_where_there_must_not_be_more(max_parts: int, features: str) -> None:
    assert routes.most_parts(order(max_parts=max_parts), DECODED | {"features": features}) == 1


@pytest.mark.parametrize(
    ("max_part_msat", "amounts_msat"),
    [(None, [5_000]), (5_000, [5_000]), (4_999, [2_500] * 2), (1_800, [1_667, 1_667, 1_666])],
)
def test_no_part_brings_more_than_it_may(max_part_msat: int | None, amounts_msat: list[int]) -> None:
    payment = order(max_part_msat=max_part_msat)
    assert routes.even(payment.amount_msat, routes.fewest_parts(payment)) == amounts_msat


class Askrene(Rpc):
    """Finds the way over one channel that charges 3 msat, and no more than one part for an amount."""

    def __init__(self, *refused: int) -> None:
        super().__init__(Path("nowhere"))
        self.refused = refused
        self.asked: list[dict[str, Any]] = []
        self.reserved: list[dict[str, Any]] = []
        self.reserved_when_asked: list[list[int]] = []

    async def call(self, method: str, seconds: float | None = None, **parameters: Any) -> dict[str, Any]:
        match method:
            case "getroutes":
                amount_msat = parameters["amount_msat"]
                if amount_msat in self.refused:
                    raise ClnRefusedError("there is no way", 205, "there is no way", {})
                self.asked.append(parameters)
                self.reserved_when_asked.append([hop["amount_msat"] for hop in self.reserved])
                hop = {
                    "short_channel_id_dir": "1x2x3/0",
                    "amount_in_msat": amount_msat + 3,
                    "amount_out_msat": amount_msat,
                }
                return {"routes": [{"path": [hop]}]}
            case "askrene-reserve":
                self.reserved += parameters["path"]
            case "askrene-unreserve":
                for hop in parameters["path"]:
                    self.reserved.remove(hop)
        return {}


ORDER = {"maxfee_msat": 10, "maxparts": 16, "layers": ["auto.localchans", "mine"]}


async def test_each_amount_has_routes_of_its_own_within_the_common_limits() -> None:
    askrene = Askrene()
    paths = await routes.find(askrene, ORDER, [1_667, 1_667, 1_666])
    assert [path[0]["amount_out_msat"] for path in paths] == [1_667, 1_667, 1_666]
    assert [(asked["maxfee_msat"], asked["maxparts"]) for asked in askrene.asked] == [(10, 14), (7, 14), (4, 14)]
    assert askrene.reserved_when_asked == [[], [1_670], [1_670, 1_670]]
    assert not askrene.reserved


async def test_what_was_set_aside_is_let_go_when_there_is_no_way_for_the_rest() -> None:
    askrene = Askrene(1_666)
    with pytest.raises(ClnRefusedError, match="no way"):
        await routes.find(askrene, ORDER, [1_667, 1_666])
    assert len(askrene.asked) == 1
    assert not askrene.reserved


async def test_one_amount_sets_nothing_aside() -> None:
    askrene = Askrene()
    await routes.find(askrene, ORDER, [5_000])
    assert askrene.asked == [ORDER | {"amount_msat": 5_000}]


def test_hints_are_channels_to_the_payee() -> None:
    hop = {
        "pubkey": "03" * 33,
        "short_channel_id": "1x2x3",
        "fee_base_msat": 1,
        "fee_proportional_millionths": 2,
        "cltv_expiry_delta": 40,
    }
    other = hop | {"pubkey": "01" * 33, "short_channel_id": "4x5x6"}
    made = list(routes.hinted_channels(order(), DECODED | {"routes": [[other, hop]]}, OWN_ID))
    assert [(channel["source"], channel["destination"]) for channel, _ in made] == [
        ("01" * 33, "03" * 33),
        ("03" * 33, PAYEE),
    ]
    assert [update["short_channel_id_dir"] for _, update in made] == ["4x5x6/0", "1x2x3/1"]
    assert all(update["htlc_maximum_msat"] >= 5_000 for _, update in made)
    assert made[1][1]["cltv_expiry_delta"] == 40


def hop_of(pubkey: str, short_channel_id: str = "1x2x3") -> dict[str, Any]:
    return {
        "pubkey": pubkey,
        "short_channel_id": short_channel_id,
        "fee_base_msat": 1,
        "fee_proportional_millionths": 2,
        "cltv_expiry_delta": 40,
    }


LSP, OTHER = "03" * 33, "04" * 33


@pytest.mark.parametrize(
    ("hints", "made"),
    [
        ([[hop_of(PAYEE)]], []),
        ([[hop_of(LSP), hop_of(PAYEE, "4x5x6")]], [(LSP, PAYEE)]),
        ([[hop_of(LSP), hop_of(LSP, "4x5x6")]], [(LSP, PAYEE)]),
        ([[hop_of(OWN_ID)]], []),
        ([[hop_of(LSP), hop_of(OWN_ID, "4x5x6")]], []),
        ([[hop_of(OWN_ID), hop_of(LSP, "4x5x6")]], [(LSP, PAYEE)]),
        ([[hop_of(OWN_ID), hop_of(OTHER, "4x5x6"), hop_of(OWN_ID, "7x8x9"), hop_of(LSP, "1x1x1")]], [(LSP, PAYEE)]),
        ([[hop_of(LSP)], [hop_of(LSP)]], [(LSP, PAYEE)]),
        ([[hop_of(LSP)], [hop_of(OTHER)]], [(LSP, PAYEE)]),
        ([[hop_of(LSP)], [hop_of(OTHER, "4x5x6")]], [(LSP, PAYEE), (OTHER, PAYEE)]),
        ([[]], []),
    ],
    ids=[
        "circular",
        "circular at its end",
        "circular in it",
        "of this node alone",
        "leads to this node",
        "leads on from this node",
        "leads through this node twice",
        "there twice",
        "one name for two channels",
        "two",
        "empty",
    ],
)
def test_hints_that_askrene_would_refuse_or_that_lead_through_us(
    hints: list[list[dict[str, Any]]], made: list[tuple[str, str]]
) -> None:
    """ElementsProject/lightning#9174, #9177."""
    found = routes.hinted_channels(order(), DECODED | {"routes": hints}, OWN_ID)
    hinted = [channel for channel, _ in found]
    assert [(channel["source"], channel["destination"]) for channel in hinted] == made


@pytest.mark.parametrize(("bits", "needed"), [(0, False), (1 << 49, False), (1 << 48, True)])
def test_payment_metadata_that_the_payee_demands(bits: int, needed: bool) -> None:
    decoded = DECODED | {"features": f"{bits:x}"}
    assert invoices.invoice("lnbcrt1", decoded).needs_metadata == needed


class Channels(Rpc):
    """Has these channels, and makes any invoice."""

    def __init__(self, *private: bool) -> None:
        super().__init__(Path("nowhere"))
        self.channels = [
            {
                "channel_id": "aa" * 32,
                "state": "CHANNELD_NORMAL",
                "private": each,
                "short_channel_id": f"{number}x1x1",
            }
            for number, each in enumerate(private)
        ]
        self.exposed: Any = None

    async def call(self, method: str, seconds: float | None = None, **parameters: Any) -> dict[str, Any]:
        match method:
            case "listpeerchannels":
                return {"channels": self.channels}
            case "invoice":
                self.exposed = parameters["exposeprivatechannels"]
                return {"bolt11": "lnbcrt1"}
        return DECODED


@pytest.mark.parametrize(
    ("private", "exposed"), [((True, True), ["0x1x1", "1x1x1"]), ((True, False), True), ((False,), True), ((), True)]
)
async def test_a_node_with_private_channels_alone_names_them(private: tuple[bool, ...], exposed: Any) -> None:
    node = Channels(*private)
    await invoices.create(node, 1_000, "tea", 60)
    assert node.exposed == exposed


def test_an_invoice() -> None:
    hint = [{"pubkey": "03" * 33}]
    assert invoices.invoice("lnbcrt1", DECODED | {"routes": [hint], "amount_msat": 7}) == Invoice(
        text="lnbcrt1",
        payment_hash=b"\xab" * 32,
        payee=bytes.fromhex(PAYEE),
        amount_msat=7,
        network="regtest",
        expires_at=1_060,
        min_final_cltv_expiry=18,
        route_hints=((b"\x03" * 33,),),
        payment_secret=b"\xcd" * 32,
    )
    assert (
        invoices.invoice("lnbcrt1", {key: DECODED[key] for key in DECODED if key != "payment_secret"}).payment_secret
        is None
    )


class OwnInvoices(Rpc):
    """Lists one invoice, and decodes any text as DECODED."""

    def __init__(self, **listed: Any) -> None:
        super().__init__(Path("nowhere"))
        self.listed = {"status": "unpaid", "expires_at": 1_060} | listed

    async def call(self, method: str, seconds: float | None = None, **parameters: Any) -> dict[str, Any]:
        return {"invoices": [self.listed]} if method == "listinvoices" else DECODED


@pytest.mark.parametrize(("listed", "secret"), [({"bolt11": "lnbcrt1"}, b"\xcd" * 32), ({"bolt12": "lni1"}, None)])
async def test_the_payment_secret_of_an_own_invoice_is_in_its_text(
    listed: dict[str, str], secret: bytes | None
) -> None:
    own = await invoices.look_up(OwnInvoices(**listed), b"\xab" * 32)
    assert own is not None
    assert own.payment_secret == secret


@pytest.mark.parametrize(
    ("status", "payable", "paid"), [("unpaid", True, False), ("paid", False, True), ("expired", False, False)]
)
async def test_lightningd_says_whether_an_own_invoice_can_be_paid(status: str, payable: bool, paid: bool) -> None:
    own = await invoices.look_up(OwnInvoices(bolt11="lnbcrt1", status=status), b"\xab" * 32)
    assert own is not None
    assert (own.payable, own.paid) == (payable, paid)


def test_blinded_paths_are_a_field_that_cln_does_not_know() -> None:
    unknown = {"tag": "x", "data": "qq"}
    assert not invoices.invoice("lnbcrt1", DECODED | {"extra": [unknown]}).has_blinded_paths
    assert invoices.invoice("lnbcrt1", DECODED | {"extra": [unknown, {"tag": "b", "data": "qq"}]}).has_blinded_paths


async def test_an_invoice_with_blinded_paths_is_not_paid() -> None:
    class Lightningd(Rpc):
        async def call(self, method: str, seconds: float | None = None, **parameters: Any) -> dict[str, Any]:
            assert method == "listsendpays", "nothing is asked for but what is known of the hash"
            return {"payments": []}

    blinded = invoices.invoice("lnbcrt1", DECODED | {"extra": [{"tag": "b", "data": "qq"}]})
    result = await payments.pay(Lightningd(Path("lightning-rpc")), order(invoice=blinded))
    assert (result.status, result.failure) == (PaymentStatus.FAILED, BLINDED_PATHS_REFUSED)


@pytest.mark.parametrize(
    ("features", "relays"), [("8000000000", True), ("4000000000", True), ("2000000000", False), ("", False)]
)
def test_who_relays_onion_messages(features: str, relays: bool) -> None:
    assert channels.relays(features) == relays
