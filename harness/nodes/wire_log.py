"""Parse the messages between nodes from their logs: one reader for each log format.

Tested with LND 0.21.2 (subsystem PEER at debug), Core Lightning 26.06.6 (its channels and connectd at debug) and ldkd
(docker/ldk/src/wire_log.rs). Lines of another form are ignored; no line is an error. Lines contain data from peers, so
every field is matched and bounded.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import ClassVar


@dataclass(frozen=True)
class WireMessage:
    """A message (BOLT 1, BOLT 2) that a node has sent to a peer, or has received from it.

    name: its name in the BOLTs, `update_add_htlc`; `custom_37913` for a message of that type.
    channel: the channel_id (BOLT 2) in hex; empty if the log does not have it. key: a value that is the same at both
    ends, if there is one. own_time: Unix seconds by the node's own clock.
    """

    sent: bool
    peer_id: str
    name: str
    own_time: float
    channel: str = ""
    htlc_id: int | None = None
    amount_msat: int | None = None
    expiry_blocks: int | None = None
    payment_hash: str = ""
    key: str = ""


@dataclass(frozen=True)
class PeerGone:
    """This node has logged that the connection with a peer has ended."""

    peer_id: str
    own_time: float
    because: str = ""


LogEntry = WireMessage | PeerGone


@dataclass(frozen=True)
class HtlcRecord:
    """An HTLC in a node's database. incoming: offered to this node by the peer at the other end of the channel.

    peer_id: of that peer; empty if the channel is closed and the node no longer reports it.
    """

    short_channel_id: str
    htlc_id: int
    incoming: bool
    payment_hash: str
    amount_msat: int
    expiry_blocks: int
    peer_id: str = ""


FIRST_CUSTOM_TYPE = 32_768
"""BOLT 1: types from here on are for experiments and applications."""
MOST_REASON_CHARACTERS = 200

_HASH = r"(?P<hash>[0-9a-f]{64})"
_NODE_ID = r"0[23][0-9a-f]{64}"


class LndLog:
    """LND: `2026-11-27 19:10:31.097 [DBG] PEER: Peer(02..): Received UpdateAddHTLC(chan_id=.., id=0, ..) from ..`."""

    _LINE = re.compile(
        r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) \[(?:DBG|INF)\] PEER: "
        rf"Peer\((?P<peer>{_NODE_ID})\): (?P<said>.{{1,4000}})"
    )
    _MESSAGE = re.compile(r"(?P<way>Sending|Received) (?P<type>\w{1,40})(?:\((?P<fields>.*?)\) (?:to|from) |\b)")
    _NAMES: ClassVar = {
        "UpdateAddHTLC": "update_add_htlc",
        "UpdateFulfillHTLC": "update_fulfill_htlc",
        "UpdateFailHTLC": "update_fail_htlc",
        "UpdateFailMalformedHTLC": "update_fail_malformed_htlc",
        "OnionMessage": "onion_message",
        "Shutdown": "shutdown",
        "Error": "error",
        "Warning": "warning",
    }
    _HTLC = re.compile(r"chan_id=(?P<channel>[0-9a-f]{64}), id=(?P<id>\d{1,18}),")
    _ADD = re.compile(rf"amt=(?P<amount>\d{{1,18}}) mSAT, expiry=(?P<expiry>\d{{1,9}}), hash={_HASH}")
    _PREIMAGE = re.compile(r"preimage=(?P<preimage>[0-9a-f]{64})")
    _CUSTOM = re.compile(r"type=(?P<type>\d{1,5})$")
    _PATH_KEY = re.compile(r"path_key=(?P<key>[0-9a-f]{66})")
    _GONE = re.compile(rf"disconnecting {_NODE_ID}\S*, reason: (?P<reason>.*)")

    @classmethod
    def read(cls, line: str) -> LogEntry | None:
        """What a line tells; None: nothing."""
        if "PEER: Peer(" not in line or (found := cls._LINE.match(line)) is None:
            return None
        peer, said, own_time = found["peer"], found["said"], unix_seconds(found["time"])
        if own_time is None:
            return None
        if gone := cls._GONE.match(said):
            return PeerGone(peer, own_time, gone["reason"][:MOST_REASON_CHARACTERS])
        if (message := cls._MESSAGE.match(said)) is None:
            return None
        sent, fields = message["way"] == "Sending", message["fields"] or ""
        if message["type"] == "custom" and (custom := cls._CUSTOM.match(fields)):
            return WireMessage(sent, peer, f"custom_{custom['type']}", own_time)
        if (name := cls._NAMES.get(message["type"])) is None:
            return None
        if name == "onion_message":
            path_key = cls._PATH_KEY.search(fields)
            return WireMessage(sent, peer, name, own_time, key=path_key["key"] if path_key else "")
        htlc = cls._HTLC.match(fields)
        if htlc is None:
            return None if name.startswith("update_") else WireMessage(sent, peer, name, own_time)
        added = cls._ADD.search(fields)
        preimage = cls._PREIMAGE.search(fields)
        settled = sha256(bytes.fromhex(preimage["preimage"])).hexdigest() if preimage else ""
        return WireMessage(
            sent,
            peer,
            name,
            own_time,
            channel=htlc["channel"],
            htlc_id=int(htlc["id"]),
            amount_msat=int(added["amount"]) if added else None,
            expiry_blocks=int(added["expiry"]) if added else None,
            payment_hash=added["hash"] if added else settled,
        )


class ClnLog:
    """Core Lightning: `2026-11-27T19:14:58.665Z DEBUG   03..-channeld-chan#2: NEW:: HTLC REMOTE 0 = RCVD_ADD_HTLC/..`.

    An HTLC that is LOCAL was offered by this node. channeld logs `NEW:` also for HTLCs that it loads from its database.
    """

    _LINE = re.compile(
        r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z \w+ +"
        rf"(?P<peer>{_NODE_ID})-(?:channeld-chan#\d+|connectd): (?P<said>.{{1,400}})"
    )
    _HTLC = re.compile(r"(?P<what>NEW|FULFILL|FAIL):: HTLC (?P<owner>LOCAL|REMOTE) (?P<id>\d{1,18}) = (?P<state>\w+)/")
    _MESSAGE = re.compile(r"peer_(?P<way>in|out) (?:WIRE_(?P<type>[A-Z_]{1,40})|UNKNOWN (?P<number>\d{1,5}))")
    _TYPES = ("ONION_MESSAGE", "SHUTDOWN", "ERROR", "WARNING")
    _REMOVALS: ClassVar = {"FULFILL": "update_fulfill_htlc", "FAIL": "update_fail_htlc"}

    @classmethod
    def read(cls, line: str) -> LogEntry | None:
        """What a line tells; None: nothing."""
        if ("d: " not in line and "-chan#" not in line) or (found := cls._LINE.match(line)) is None:
            return None
        peer, said, own_time = found["peer"], found["said"], unix_seconds(found["time"])
        if own_time is None:
            return None
        if htlc := cls._HTLC.match(said):
            return cls._htlc(htlc, peer, own_time)
        if message := cls._MESSAGE.match(said):
            return cls._message(message, peer, own_time)
        return PeerGone(peer, own_time) if said.startswith("Peer connection lost") else None

    @classmethod
    def _htlc(cls, said: re.Match[str], peer: str, own_time: float) -> WireMessage | None:
        local, number = said["owner"] == "LOCAL", int(said["id"])
        if said["what"] == "NEW":
            if not said["state"].endswith("_ADD_HTLC"):
                return None
            return WireMessage(local, peer, "update_add_htlc", own_time, htlc_id=number)
        return WireMessage(not local, peer, cls._REMOVALS[said["what"]], own_time, htlc_id=number)

    @classmethod
    def _message(cls, said: re.Match[str], peer: str, own_time: float) -> WireMessage | None:
        sent = said["way"] == "out"
        if number := said["number"]:
            own = int(number) >= FIRST_CUSTOM_TYPE
            return WireMessage(sent, peer, f"custom_{number}", own_time) if own else None
        return WireMessage(sent, peer, said["type"].lower(), own_time) if said["type"] in cls._TYPES else None


class LdkLog:
    """ldkd: `1795806631.096 MESSAGE sent 02.. update_add_htlc channel_id=.. id=0 amount_msat=.. expiry=.. ..`."""

    _LINE = re.compile(
        rf"(?P<time>\d{{1,11}}\.\d{{3}}) (?:DISCONNECTED (?P<gone>{_NODE_ID})|"
        rf"MESSAGE (?P<way>sent|received) (?P<peer>{_NODE_ID}) (?P<name>\w{{1,40}})"
        r"(?P<fields>(?: \w{1,20}=\w{1,70}){0,5}))"
    )
    _HTLC_NAMES = frozenset(
        {"update_add_htlc", "update_fulfill_htlc", "update_fail_htlc", "update_fail_malformed_htlc"}
    )
    _HTLC = re.compile(
        r" channel_id=(?P<channel>[0-9a-f]{64}) id=(?P<id>\d{1,18})"
        rf"(?: amount_msat=(?P<amount>\d{{1,18}}) expiry=(?P<expiry>\d{{1,9}}))?(?: payment_hash={_HASH})?"
    )
    _ONION = re.compile(r" path_key=(?P<key>0[23][0-9a-f]{64})")
    _OTHERS = re.compile(r"custom_\d{5}|shutdown|error|warning")

    @classmethod
    def read(cls, line: str) -> LogEntry | None:
        """Return the entry of a line; None if it is about something else."""
        if (found := cls._LINE.fullmatch(line)) is None:
            return None
        own_time = float(found["time"])
        if found["gone"]:
            return PeerGone(found["gone"], own_time)
        sent, peer, name, fields = found["way"] == "sent", found["peer"], found["name"], found["fields"]
        if name in cls._HTLC_NAMES and (htlc := cls._HTLC.fullmatch(fields)):
            return WireMessage(
                sent,
                peer,
                name,
                own_time,
                channel=htlc["channel"],
                htlc_id=int(htlc["id"]),
                amount_msat=int(htlc["amount"]) if htlc["amount"] else None,
                expiry_blocks=int(htlc["expiry"]) if htlc["expiry"] else None,
                payment_hash=htlc["hash"] or "",
            )
        if name == "onion_message" and (onion := cls._ONION.fullmatch(fields)):
            return WireMessage(sent, peer, name, own_time, key=onion["key"])
        return WireMessage(sent, peer, name, own_time) if cls._OTHERS.fullmatch(name) and not fields else None


def unix_seconds(text: str) -> float | None:
    """Parse a time such as `2026-11-27 19:10:31.097`, in UTC like the containers' clocks; None if it is invalid."""
    try:
        return datetime.fromisoformat(text + "+00:00").timestamp()
    except ValueError:
        return None
