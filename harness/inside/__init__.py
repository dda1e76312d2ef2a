"""What of the testbed runs inside its containers: a phone's init and the push gateway.

It goes into asyncpay's image, so it imports asyncpay and the packages of that image, and nothing else of `harness`.
"""
