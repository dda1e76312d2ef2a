"""The testbed's programs inside its containers: a phone's init and the push gateway.

This package is part of asyncpay's image, so it imports asyncpay and that image's packages, and nothing else of
`harness`.
"""
