"""Closing a channel of LND without its peer, and why an LSP on LND has to.

What LND 0.21 does with an HTLC that its interceptor has settled while the payer is away, by its source:

- The SETTLE is a packet in the mailbox of the incoming link, and the mailbox is memory (`interceptedForward.resolve` in
  htlcswitch/interceptable_switch.go, `memoryMailBox` in htlcswitch/mailbox.go). Nothing of it is stored, not even a
  circuit, for the HTLC was never forwarded. As long as LND runs the payer gets the SETTLE when it is back, at any
  height: the ADD that its link replays is dropped for the answer that waits (`forwardBatch` in htlcswitch/link.go).
- A restart loses it. When the payer's link is up again it replays its forwarding packages (`resolveFwdPkgs`), and the
  HTLC goes to the interceptor as if it was new; unless it expires in less than 22 blocks: then LND fails it and asks
  nobody (`interceptForward`, `handleExpired`), although it has itself paid for the preimage.
- 16 blocks before the expiry of an incoming HTLC whose preimage it knows LND goes on chain by itself
  (`checkCommitChainActions` in contractcourt/channel_arbitrator.go, DefaultIncomingBroadcastDelta in lncfg/config.go).
  It does know it: what a link is given for an own payment, too, is stored (`AddPreimages` in htlcswitch/link.go).

So a payer that comes back in the blocks between gets back what the LSP has paid for it. Once its channel is
force-closed it cannot: LND removes its link and makes none again. On its own commitment it claims each HTLC whose
preimage it knows, with the expiry as the deadline (`findCommitmentDeadlineAndValue`, `prepContractResolutions`).
"""

from asyncpay.lightning import Capability, ChannelId
from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.lnd import channels
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection, LndRefusedError
from asyncpay.nodes.proto import lightning_pb2 as ln

KEEPS_SETTLEMENTS = Capability(
    False, "a SETTLE lies in the memory of the incoming link, and a restarted LND fails the HTLC near its expiry"
)
_CLOSING_ALREADY = "already in the process of being force closed"


async def force_close(lnd: Connection, channel_id: ChannelId) -> None:
    """See Node.force_close. A channel that LND does not list as open is closed, or about to be."""
    if len(channel_id) != 8:
        raise NodeError(f"LND at {lnd.address} has no channel {channel_id}: its channels have ids of 8 bytes")
    listed = await channels.open_channels(lnd)
    for channel in listed:
        if channels.channel_id(channel.chan_id) == channel_id:
            await _close(lnd, channel)


async def _close(lnd: Connection, channel: ln.Channel) -> None:
    """Ask, and hang up at the first word, which LND says when the transaction is broadcast."""
    txid, _, output = channel.channel_point.partition(":")
    point = ln.ChannelPoint(funding_txid_str=txid, output_index=int(output))
    call = lnd.lightning.CloseChannel(ln.CloseChannelRequest(channel_point=point, force=True), timeout=CALL_SECONDS)
    try:
        with lnd.calling(f"force-close channel {channel.channel_point}"):
            if await anext(aiter(call), None) is None:
                raise NodeUnreachableError(f"LND at {lnd.address} did not say that it closes {channel.channel_point}")
    except LndRefusedError as error:
        if _CLOSING_ALREADY not in error.details:
            raise
    finally:
        call.cancel()
