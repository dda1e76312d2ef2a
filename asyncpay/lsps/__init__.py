"""Registration of webhooks with an LSP, and notifications to them: bLIP-50 (LSPS0) and bLIP-55 (LSPS5).

The LSP answers requests with `server`, in the framing of `jsonrpc`, by the rules of `lsps5`; `info` reads the answer
to `async_payments.get_info`. A wallet sends requests with `jsonrpc.Calls`. `notifications` creates and checks a
notification, `webhooks` signs and posts it, and `addresses` decides which addresses are permitted. The last two do I/O.
"""
