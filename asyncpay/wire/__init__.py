"""The protocol as bytes: TLV streams, blinded paths, onion messages, and the messages of async payments.

Everything here is a pure function of its arguments: no node, no I/O, no clock, no randomness, no state.

Read in this order: `bigsize` and `tlv` (BOLT 1), `ecdh`, `blinding` and `onion` (BOLT 4), `messages` (this protocol),
`signature` (of requests). Malformed bytes raise `errors.WireError` and no other exception.
"""
