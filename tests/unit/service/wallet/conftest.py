"""A phone for each test."""

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from asyncpay.service.wallet import lsp_link, session

from .wallet_harness import WalletHarness, die


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WalletHarness:
    """Its wallet sleeps; see WalletHarness.awake."""
    made = WalletHarness(tmp_path)

    @asynccontextmanager
    async def open_node(_: object) -> Any:
        yield made.node

    monkeypatch.setattr(session, "open_node", open_node)
    monkeypatch.setattr(lsp_link, "ANSWER_SECONDS", 0.2)
    monkeypatch.setenv("ASYNCPAY_FAILPOINTS", "1")
    monkeypatch.setattr(os, "_exit", die)
    return made
