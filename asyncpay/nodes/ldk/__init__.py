"""The adapter of LDK, as our daemon ldkd (docker/ldk) runs it. Other packages use only `LdkNode`.

node           the methods of the interface    rpc        JSON-RPC over the Unix socket, with its errors translated
event_stream   ldkd's reports as events        channels   peers and channels
htlcs          offered and pending HTLCs       onions     peeling with LDK's node key, and routes for messages
payments       paying and tracking payments    invoices   creating and decoding invoices
"""

from asyncpay.nodes.ldk.node import LdkNode

__all__ = ["LdkNode"]
