"""How a phone registers with its LSP and how it is woken: bLIP-50 (LSPS0) and bLIP-55 (LSPS5).

The LSP answers requests with `server`, in the framing of `jsonrpc`, by the rules of `lsps5` and with what
`info` describes; a wallet asks with `jsonrpc.Calls`. A push is written and checked by `notifications`, signed
and posted by `webhooks`, to no address that `addresses` forbids. These two do I/O.
"""
