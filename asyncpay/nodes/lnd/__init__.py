"""LND behind the one node interface. `LndNode` is all that others need.

node           the interface's verbs               connection   gRPC with TLS and macaroon, its errors in our words
event_stream   all of LND's streams as one         channels     peers, channels, and what they ask for
htlcs          offers, answers, outcomes           onions       peeling with LND's node key, and the ways of messages
payments       paying, and tracking                pinned       paying on behalf, over routes that were checked
invoices       making and reading them             chain        whether LND has followed the chain
"""

from asyncpay.nodes.lnd.node import LndNode

__all__ = ["LndNode"]
