"""Holding on real nodes, one LSP for payer and payee: who may release, who may not, and when it ends."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.hold_harness")  # its asserts explain themselves as a test's do
