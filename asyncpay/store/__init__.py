"""The stores of the components: one SQLite file for each, with one table for each record type of its engine."""

from asyncpay.store.database import Store, StoreError, UnstorableError
from asyncpay.store.lsp import LspStore
from asyncpay.store.wallet import WalletStore

__all__ = ["LspStore", "Store", "StoreError", "UnstorableError", "WalletStore"]
