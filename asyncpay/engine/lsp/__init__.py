"""What an LSP decides. `engine` is the way in, and says where to read on."""

from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.policy import Policy

__all__ = ["Lsp", "Policy"]
