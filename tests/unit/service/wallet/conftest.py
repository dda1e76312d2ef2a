"""A phone for each test."""

import os
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from asyncpay.service.wallet import lsp_link, session

from .wallet_harness import WalletHarness, die

PhoneWith = Callable[..., WalletHarness]


@pytest.fixture
def phone_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PhoneWith:
    """Makes a phone with these sections in its configuration; its wallet sleeps; see WalletHarness.awake."""

    def make(**sections: dict[str, Any]) -> WalletHarness:
        made = WalletHarness(tmp_path, **sections)

        @asynccontextmanager
        async def open_node(_: object) -> Any:
            yield made.node

        monkeypatch.setattr(session, "open_node", open_node)
        monkeypatch.setattr(lsp_link, "ANSWER_SECONDS", 0.2)
        monkeypatch.setenv("ASYNCPAY_FAILPOINTS", "1")
        monkeypatch.setattr(os, "_exit", die)
        return made

    return make


@pytest.fixture
def phone(phone_with: PhoneWith) -> WalletHarness:
    """One as it is delivered."""
    return phone_with()
