"""Invoices as people paste them."""

import pytest

from asyncpay.lightning import bolt11_text


@pytest.mark.parametrize(
    "pasted",
    [
        "lnbcrt10n1qqq",
        "lightning:lnbcrt10n1qqq",
        "LIGHTNING:LNBCRT10N1QQQ",
        "lightning://lnbcrt10n1qqq",
        "Lightning:LNBCRT10N1QQQ",
        " lnbcrt10n1qqq\n",
        "\tlightning: lnbcrt10n1qqq \r\n",
        "LNBCRT10N1QQQ",
        "lnbcrt10\nn1q\u00a0qq",
    ],
)
def test_what_people_paste_is_the_invoice(pasted: str) -> None:
    assert bolt11_text(pasted) == "lnbcrt10n1qqq"


@pytest.mark.parametrize("text", ["", "lightning:", "lnbcrt10N1QQQ", "bitcoin:lnbc1", "lightninglnbc1", "\u00df"])
def test_anything_else_is_left_to_the_node(text: str) -> None:
    assert bolt11_text(text) == text.removeprefix("lightning:")
