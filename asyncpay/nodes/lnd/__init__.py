"""LND behind the one node interface. `LndNode` is all that others need.

node         the interface's verbs               connection   gRPC, and its errors in our words
attachment   all of LND's streams as one         reach        peers and channels, and what changed
htlcs        offers, answers, outcomes           onions       peeling with LND's node key
payments     paying, and tracking                routes       the way of an onion message
access       TLS and macaroon
"""

from asyncpay.nodes.lnd.node import LndNode

__all__ = ["LndNode"]
