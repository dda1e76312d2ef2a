"""Core Lightning behind the one node interface. `ClnNode` is all that others need.

node         the interface's verbs               rpc          JSON-RPC over the Unix socket, and its errors in our words
attachment   what the plugin reports, as events  reach        peers and channels, and what changed
htlcs        offers, outcomes, what is pending   onions       what CLN shows of onion messages
payments     paying, and tracking                routes       the ways of a payment's parts
layers       what askrene is told of a payment   invoices     making and reading them
graph        the way of an onion message

plugin       runs inside lightningd, and imports nothing of the rest
"""

from asyncpay.nodes.cln.node import ClnNode

__all__ = ["ClnNode"]
