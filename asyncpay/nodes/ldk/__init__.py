"""LDK behind the one node interface, as our daemon ldkd (docker/ldk) runs it. `LdkNode` is all that others need.

node           the interface's verbs         rpc        JSON-RPC over the Unix socket, and its errors in our words
event_stream   what ldkd reports, as events  channels   peers and channels
htlcs          offers, and what is pending   onions     peeling with LDK's node key, and ways for messages
payments       paying, and tracking          invoices   making and reading them
"""

from asyncpay.nodes.ldk.node import LdkNode

__all__ = ["LdkNode"]
