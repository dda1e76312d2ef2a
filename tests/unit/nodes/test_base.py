"""What no node is asked for."""

import math
from pathlib import Path

import pytest

from asyncpay.lightning import MAX_INVOICE_EXPIRY_SECONDS
from asyncpay.nodes.base import Node, NodeError, check_invoice
from asyncpay.nodes.cln.node import ClnNode
from asyncpay.nodes.lnd.node import LndNode

YEAR_SECONDS = 365 * 86_400


@pytest.mark.parametrize("seconds", [0, -1, YEAR_SECONDS + 1, 2**63, 10**400, math.inf, math.nan])
@pytest.mark.anyio
async def test_an_expiry_that_nodes_cannot_take_is_refused_with_the_limit(seconds: float) -> None:
    """ElementsProject/lightning#9478: CLN is asked nothing, so nothing answers here."""
    nodes: list[Node] = [ClnNode(Path("nowhere")), LndNode.__new__(LndNode)]
    for node in nodes:
        with pytest.raises(NodeError, match=r"between 1 s and 31536000 s \(365 days\)"):
            await node.create_invoice(1, "tea", seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [1, MAX_INVOICE_EXPIRY_SECONDS])
def test_the_limits_themselves_are_taken(seconds: int) -> None:
    check_invoice(1, seconds)


@pytest.mark.parametrize("amount_msat", [0, -1, 2**63, 2**64])
def test_an_amount_that_there_is_not_is_refused(amount_msat: int) -> None:
    with pytest.raises(NodeError, match=r"its amount is .* msat"):
        check_invoice(amount_msat, 60)
