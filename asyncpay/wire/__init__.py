"""The protocol as bytes: TLV streams, blinded paths, onion messages, and the messages of async payments.

Everything here is a pure function of its arguments: no node, no I/O, no clock, no randomness, no state.

Read in this order: `bigsize`, `tlv` and `records` (BOLT 1), `ecdh` (who holds the node key), `blinding`
and `onion` (BOLT 4), `messages` (this protocol), `signature` (who asked). Bytes that are not what they
should be raise `errors.WireError` and nothing else.
"""
