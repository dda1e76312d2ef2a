"""Core Lightning behind the one node interface. `ClnNode` is all that others need.

node           the interface's verbs               rpc          JSON-RPC over the Unix socket, its errors in our words
event_stream   what the plugin reports, as events  channels     peers, channels, and the HTLCs on them
payments       paying, and tracking                onions       what CLN shows of onion messages, and their ways
routes         the routes of a payment's parts     invoices     making and reading them

plugin         runs inside lightningd, and imports nothing of the rest
"""

from asyncpay.nodes.cln.node import ClnNode

__all__ = ["ClnNode"]
