"""A log in which every line stands."""

import pytest

from asyncpay.service.common import event_log


@pytest.fixture
def whole_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that strangers cause are counted by the test, so none of them is left out."""
    monkeypatch.setattr(event_log, "MAX_OFTEN", 1_000_000)
