"""The states of each HTLC on each hop, from the nodes' messages, their records, and the components' logs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.nodes.wire_log import HtlcRecord
from harness.timeline.components import HELD, RESOLUTIONS
from harness.timeline.model import Event, Htlc
from harness.timeline.node_logs import Passed

ADD = "update_add_htlc"
ENDS = {"update_fulfill_htlc": "settled", "update_fail_htlc": "failed", "update_fail_malformed_htlc": "failed"}


@dataclass
class Life:
    """An HTLC whose states are being collected; see model.Htlc."""

    sender: str
    receiver: str
    channel: str
    htlc_id: int
    payment_hash: str = ""
    amount_msat: int | None = None
    expiry_blocks: int | None = None
    offered: float | None = None
    held: float | None = None
    resolved: float | None = None
    resolution: str = ""
    ended: float | None = None
    end: str = ""

    def frozen(self) -> Htlc:
        """Return it as part of a story."""
        return Htlc(
            from_lane=self.sender,
            to=self.receiver,
            **{name: value for name, value in vars(self).items() if name not in ("sender", "receiver", "payment_hash")},
            payment_hash=self.payment_hash or None,
        )


class Htlcs:
    """All HTLCs. channels: short_channel_id by channel_id; records: by node; names: of nodes, by node id."""

    def __init__(
        self,
        channels: Mapping[str, str],
        records: Mapping[str, Iterable[HtlcRecord]],
        names: Mapping[str, str],
    ) -> None:
        self._channels = channels
        self._lives: dict[tuple[str, str, str, int], Life] = {}
        self._at: dict[tuple[str, int], list[Life]] = defaultdict(list)
        """By receiver and HTLC id, for components, which identify the channel by its short_channel_id."""
        self._records: dict[tuple[str, str, str, int], list[HtlcRecord]] = defaultdict(list)
        for node, each in records.items():
            for record in each:
                peer = names.get(record.peer_id, "")
                ends = (peer, node) if record.incoming else (node, peer)
                self._records[*ends, "", record.htlc_id].append(record)

    def take(self, passed: Passed) -> None:
        """Record an HTLC's message. A message that was retransmitted after a reconnection changes nothing."""
        message = passed.message
        life = self.of(passed)
        if life is None:
            return
        if message.name == ADD:
            life.offered = passed.time if life.offered is None else life.offered
        elif life.ended is None:
            life.ended, life.end = passed.time, ENDS[message.name]
        life.payment_hash = life.payment_hash or message.payment_hash
        life.amount_msat = message.amount_msat if life.amount_msat is None else life.amount_msat
        life.expiry_blocks = message.expiry_blocks if life.expiry_blocks is None else life.expiry_blocks

    def of(self, passed: Passed) -> Life | None:
        """Return the HTLC of a message; its first message creates it."""
        message = passed.message
        if message.htlc_id is None or message.name not in (ADD, *ENDS):
            return None
        ends = (passed.sender, passed.receiver)
        sender, receiver = ends if message.name == ADD else (ends[1], ends[0])
        record = self._record(sender, receiver, message.htlc_id, message.payment_hash)
        channel = self._channels.get(message.channel, message.channel) or (record.short_channel_id if record else "")
        key = sender, receiver, channel, message.htlc_id
        if key not in self._lives:
            life = self._lives[key] = Life(*key)
            self._at[receiver, message.htlc_id].append(life)
            if record:
                life.payment_hash, life.amount_msat = record.payment_hash, record.amount_msat
                life.expiry_blocks = record.expiry_blocks
        return self._lives[key]

    def _record(self, sender: str, receiver: str, htlc_id: int, payment_hash: str) -> HtlcRecord | None:
        """Return the record of one of the two nodes, unless several channels make it ambiguous."""
        kept = [
            record
            for ends in ((sender, receiver), (sender, ""), ("", receiver))
            for record in self._records.get((*ends, "", htlc_id), ())
            if not payment_hash or record.payment_hash == payment_hash
        ]
        return kept[0] if len({(each.short_channel_id, each.payment_hash) for each in kept}) == 1 else None

    def heard(self, event: Event) -> Life | None:
        """Record a component's event about an HTLC that its node has received; None: no node's log has this HTLC."""
        if event.htlc_id is None:
            return None
        channel = self._channels.get(event.channel, event.channel)
        found = [life for life in self._at[event.lane, event.htlc_id] if life.channel in (channel, "")]
        if len(found) != 1:
            return None
        (life,) = found
        life.channel = life.channel or channel
        if event.what == HELD:
            life.held = event.time if life.held is None else life.held
        elif event.what in RESOLUTIONS:
            life.resolved, life.resolution = event.time, RESOLUTIONS[event.what]
        return life

    def payment_hashes(self) -> set[str]:
        """Return the known payment hashes."""
        return {life.payment_hash for life in self._lives.values() if life.payment_hash}

    def end_on_chain(self, events: Iterable[Event]) -> None:
        """Record the HTLCs that ended on chain: by channel and payment hash, as long as nothing else ended them."""
        ends = {(event.channel, each): event for event in events for each in event.payment_hashes}
        for life in self._lives.values():
            event = ends.get((life.channel, life.payment_hash))
            if event is not None and life.ended is None:
                life.ended, life.end = event.time, event.what

    def all(self) -> list[Htlc]:
        """Return all HTLCs in the order in which they were offered."""
        lives = sorted(self._lives.values(), key=lambda life: life.offered or life.ended or 0.0)
        return [life.frozen() for life in lives]
