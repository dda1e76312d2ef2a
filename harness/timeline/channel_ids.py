"""The channel_id of BOLT 2, as LND logs it."""


def channel_id(funding: str) -> str:
    """Return BOLT 2's channel_id of a funding output (`txid:index`), 32 bytes in hex, in the byte order of LND's logs.

    Raises ValueError if the argument is not an output.
    """
    txid, _, index = funding.partition(":")
    reversed_txid = bytearray(bytes.fromhex(txid)[::-1])
    last = int.from_bytes(reversed_txid[-2:], "big") ^ int(index)
    reversed_txid[-2:] = last.to_bytes(2, "big")
    return reversed_txid.hex()
