"""Force-closing a channel of LND, and the reason why an LSP on LND needs that.

The behaviour of LND 0.21, from its source, for an HTLC that its interceptor has settled while the payer is offline:

- The SETTLE is a packet in the mailbox of the incoming link, and the mailbox is in memory (`interceptedForward.resolve`
  in htlcswitch/interceptable_switch.go, `memoryMailBox` in htlcswitch/mailbox.go). Nothing of it is stored, not even a
  circuit, because the HTLC was never forwarded. As long as LND runs, the payer gets the SETTLE when it reconnects, at
  any height: the ADD that its link replays is dropped for the waiting packet (`forwardBatch` in htlcswitch/link.go).
- A restart loses it. When the payer's link is up again it replays its forwarding packages (`resolveFwdPkgs`), and the
  HTLC is offered to the interceptor as if it were new, unless it expires in less than 22 blocks: then LND fails it
  without an offer (`interceptForward`, `handleExpired`), although LND itself has paid for the preimage.
- 16 blocks before the expiry of an incoming HTLC whose preimage it knows, LND goes on chain by itself
  (`checkCommitChainActions` in contractcourt/channel_arbitrator.go, DefaultIncomingBroadcastDelta in lncfg/config.go).
  It does know it: preimages that a link receives are stored, also for own payments (`AddPreimages` in
  htlcswitch/link.go).

So a payer that reconnects in the blocks between gets back the amount that the LSP has paid for it. Once its channel is
force-closed this is impossible: LND removes its link and creates none again. On its own commitment LND claims each HTLC
whose preimage it knows, with the expiry as the deadline (`findCommitmentDeadlineAndValue`, `prepContractResolutions`).
"""

from asyncpay.lightning import Capability, ChannelId
from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.lnd import channels
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection, LndRefusedError
from asyncpay.nodes.proto import lightning_pb2 as ln

KEEPS_SETTLEMENTS = Capability(
    False, "a SETTLE is only in the memory of the incoming link, and a restarted LND fails the HTLC near its expiry"
)
_CLOSING_ALREADY = "already in the process of being force closed"


async def force_close(lnd: Connection, channel_id: ChannelId) -> None:
    """See Node.force_close. A channel that LND does not list as open is closed, or about to be closed."""
    if len(channel_id) != 8:
        raise NodeError(f"LND at {lnd.address} has no channel {channel_id}: its channels have ids of 8 bytes")
    listed = await channels.open_channels(lnd)
    for channel in listed:
        if channels.channel_id(channel.chan_id) == channel_id:
            await _close(lnd, channel)


async def _close(lnd: Connection, channel: ln.Channel) -> None:
    """Request the close, and end the call at the first update, which LND sends when the transaction is broadcast."""
    txid, _, output = channel.channel_point.partition(":")
    point = ln.ChannelPoint(funding_txid_str=txid, output_index=int(output))
    call = lnd.lightning.CloseChannel(ln.CloseChannelRequest(channel_point=point, force=True), timeout=CALL_SECONDS)
    try:
        with lnd.calling(f"force-close channel {channel.channel_point}"):
            if await anext(aiter(call), None) is None:
                raise NodeUnreachableError(f"LND at {lnd.address} did not confirm the close of {channel.channel_point}")
    except LndRefusedError as error:
        if _CLOSING_ALREADY not in error.details:
            raise
    finally:
        call.cancel()
