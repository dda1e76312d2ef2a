"""Holds on real nodes, one LSP for payer and payee: the conditions of their release, and their ends."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.hold_harness")  # pytest rewrites its asserts like a test's
