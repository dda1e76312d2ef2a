"""The adapter of LND. Other packages use only `LndNode`.

node           the methods of the interface       connection   gRPC with TLS and macaroon, with its errors translated
event_stream   all of LND's streams merged        channels     peers, channels, and their forwarding policies
htlcs          offers, resolutions, outcomes      onions       peeling with LND's node key, and routes for messages
payments       paying and tracking payments       pinned       paying on behalf, along checked routes
invoices       creating and decoding invoices     chain        whether LND is synced to the chain
"""

from asyncpay.nodes.lnd.node import LndNode

__all__ = ["LndNode"]
