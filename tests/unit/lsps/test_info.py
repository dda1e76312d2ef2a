"""What an LSP says of itself reaches the wallet; an LSP without async payments is refused, with a reason."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from asyncpay.engine.policy import LspPolicy, describe
from asyncpay.lightning import Capability
from asyncpay.lsp_info import LspInfo
from asyncpay.lsps import info, jsonrpc
from asyncpay.lsps.info import UnsuitableLspError
from asyncpay.lsps.jsonrpc import Answer, RpcError
from asyncpay.lsps.lsps5 import Client
from asyncpay.lsps.server import Server
from asyncpay.nodes.lnd.node import CAPABILITIES

from .support import LSP, PHONE

OFFER = describe(LspPolicy(), CAPABILITIES)
GOOD = asdict(OFFER)


def asked(server: Server) -> LspInfo:
    calls = jsonrpc.Calls()
    handled = server.handle(Client(PHONE), calls.begin(info.GET_INFO).payload)
    assert handled is not None
    answer = calls.receive(handled.payload)
    assert answer is not None
    return info.read_answer(LSP, answer)


def test_limits_and_capabilities_of_the_lsp_reach_the_wallet() -> None:
    policy = LspPolicy(max_holds=7, max_amount_msat=2_100_000_000_000_000_000, min_margin_blocks=33)
    node = replace(CAPABILITIES, forwards_with_payer_offline=Capability(True, ""), pays_on_behalf=Capability(False, ""))
    told = asked(Server(describe(policy, node)))
    assert told == LspInfo(
        versions=(1,),
        transit_release=True,
        forwards_with_payer_offline=True,
        pays_on_behalf=False,
        courier=True,
        max_holds=7,
        max_hold_seconds=policy.max_hold_seconds,
        max_hold_blocks=policy.max_hold_blocks,
        max_amount_msat=2_100_000_000_000_000_000,
        min_margin_blocks=33,
    )


def refused(outcome: dict[str, Any] | RpcError) -> str:
    with pytest.raises(UnsuitableLspError) as caught:
        info.read_answer(LSP, Answer("x", outcome))
    assert LSP.hex() in str(caught.value)
    return str(caught.value)


def test_an_lsp_without_async_payments_is_refused() -> None:
    assert "does not offer async payments" in refused(RpcError(-32601, "Method not found"))


def test_an_lsp_that_will_not_say_is_refused_with_its_reason() -> None:
    assert "Client rejected (1)" in refused(RpcError(1, "Client rejected"))


def test_an_lsp_of_another_version_is_refused() -> None:
    assert "[2, 3]" in refused({**GOOD, "versions": [2, 3]})
    assert info.read_answer(LSP, Answer("x", {**GOOD, "versions": [1, 2]})).versions == (1, 2)


@pytest.mark.parametrize("name", GOOD)
def test_every_field_is_needed_and_checked(name: str) -> None:
    assert name in refused({key: value for key, value in GOOD.items() if key != name})
    for nonsense in ("yes", "-1", "[]"):
        assert name in refused({**GOOD, name: nonsense})


def test_fields_of_later_revisions_are_ignored() -> None:
    assert info.read_answer(LSP, Answer("x", {**GOOD, "max_moons": 1})) == OFFER


def test_amounts_may_be_strings_as_lsps0_writes_them() -> None:
    assert info.read_answer(LSP, Answer("x", {**GOOD, "max_amount_msat": "5"})).max_amount_msat == 5


@pytest.mark.parametrize("number", [-1, 2**63, int("9" * 4_200)])
@pytest.mark.parametrize("name", [name for name, value in GOOD.items() if type(value) is int])
def test_numbers_that_cannot_be_stored_or_shown_are_refused(name: str, number: int) -> None:
    assert name in refused({**GOOD, name: number})


@pytest.mark.parametrize("versions", [[-1], [1, 2**16], [1, int("9" * 4_200)], [1] * 101])
def test_versions_are_few_and_small(versions: list[int]) -> None:
    assert "versions" in refused({**GOOD, "versions": versions})
