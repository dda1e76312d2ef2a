"""The adapter of Core Lightning. Other packages use only `ClnNode`.

node           the methods of the interface      rpc          JSON-RPC over the Unix socket, with its errors translated
event_stream   the plugin's reports as events    channels     peers, channels, and the HTLCs on them
payments       paying and tracking payments      onions       CLN's reports of onion messages, and their routes
routes         the routes of a payment's parts   invoices     creating and decoding invoices

plugin         runs inside lightningd, and imports no other file of asyncpay
"""

from asyncpay.nodes.cln.node import ClnNode

__all__ = ["ClnNode"]
