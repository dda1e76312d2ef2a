"""What the testbed asks of a Lightning node of any implementation."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from asyncpay.lightning import Capabilities
from harness.engines.base import Engine
from harness.nodes.wire_log import HtlcRecord, LogEntry
from harness.topology import ChannelSpec, NodeSpec

if TYPE_CHECKING:
    from harness.images.recipes import Recipe

P2P_PORT = 9735
REST_PORT = 8180
"""Of a node with `rest`. A phone's own HTTP is on 8080."""
CLOSE_SECONDS = 60


@dataclass(frozen=True)
class RenderContext:
    """What a node's compose service is rendered from, beside its own spec."""

    image: str
    rpc_user: str
    rpc_password: str
    rpc_port: int
    sockets: Path
    """A folder on this machine, mounted into the container, for a node whose RPC is a Unix socket."""


def volume(name: str, target: str) -> dict[str, str]:
    """A named volume in a service. The short form would take a name of one letter for a Windows drive."""
    return {"type": "volume", "source": name, "target": target}


@dataclass(frozen=True)
class HostAccess:
    """How a program on this machine reaches a node.

    program: the node's own command line; arguments: what it is to be called with. variables: for other programs.
    """

    program: str
    arguments: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Info:
    """A node's word about itself."""

    node_id: str
    version: str
    height_blocks: int
    synced: bool


@dataclass(frozen=True)
class Channel:
    """One end's view of a channel. Both ends' `local_msat` add up to the capacity when no HTLC is in flight:
    the opener's side includes the commitment's fee and anchors, which its node may show as spent."""

    short_channel_id: str
    funding: str
    """The funding transaction's output, `txid:index`."""
    peer_id: str
    capacity_sat: int
    local_msat: int
    """Exact on CLN; rounded to whole satoshis on LND, whose RPC has no more (`Node.channel_balance_msat` is exact)."""
    private: bool
    active: bool
    htlcs: int
    """Those that this end's own commitment has (LND), or that it has offered or been offered (CLN)."""
    htlcs_locked_in: int
    """Of these, how many are in both ends' commitments and not on their way out, as far as this end knows (BOLT 2)."""
    htlc_hashes: frozenset[str] = frozenset()
    """The payment hashes of all of them, in hex."""


ChannelDirection = tuple[str, str]
"""One way through a channel: its short_channel_id, and the node id of the end that forwards."""


@dataclass(frozen=True)
class ChannelPolicy:
    """What a node charges to forward an HTLC (BOLT 7, channel_update)."""

    fee_base_msat: int
    fee_ppm: int

    def fee_msat(self, forwarded_msat: int) -> int:
        """The fee for an HTLC that leaves with this amount."""
        return self.fee_base_msat + forwarded_msat * self.fee_ppm // 1_000_000


@dataclass(frozen=True)
class Payment:
    """A settled payment as its payer saw it."""

    payment_hash: str
    preimage: str
    amount_msat: int
    fee_msat: int


class Node(ABC):
    """One running node. Every call raises NodeError if the node refuses it or does not answer."""

    implementation: ClassVar[str]
    """The name of the file that the class is in."""
    capabilities: ClassVar[Capabilities]
    """What asyncpay's adapter for this implementation declares."""
    no_dialling: ClassVar[tuple[str, ...]] = ()
    """Arguments that keep the node from dialling its peers by itself, for tests in which a peer is offline."""
    tells_its_plugin_alone: ClassVar[bool] = False
    """Only our plugin, which comes with a component, hears of messages and HTLCs: without it no adapter can attach."""
    lists_channels_unsorted: ClassVar[bool] = False
    """It may answer query_channel_range (BOLT 7) with channels that are not in the order of their ids."""
    refuses_unsorted_channels: ClassVar[bool] = False
    """It disconnects a peer that does so, again and again."""
    begins_with: ClassVar[str | None] = None
    """A kind of image with folders 0, 1, ..., each of which a node's volume may begin with; None if the node makes its
    own files fast. They are for the node's own image, not for another version."""
    cli: ClassVar[tuple[str, ...]]
    """The node's own command line, ready for arguments, inside its container."""
    balance_unit_msat: ClassVar[int]
    """What `Channel.local_msat` is rounded down to."""
    folder: ClassVar[str]
    """Where its volume is in its container, and in it what a component needs to be let in."""
    stop_command: ClassVar[tuple[str, ...]]
    """What makes it shut down in good order, where SIGTERM does not."""

    def __init__(self, name: str, spec: NodeSpec, engine: Engine) -> None:
        self.name = name
        self.spec = spec
        self.engine = engine
        self._node_id: str | None = None

    @property
    def node_id(self) -> str:
        """The node's public key, 33 bytes in hex. Asked once, unless it was known before."""
        if self._node_id is None:
            self._node_id = self.info().node_id
        return self._node_id

    @node_id.setter
    def node_id(self, known: str) -> None:
        self._node_id = known

    def forget_id(self) -> None:
        """Forget it: the container is made anew, perhaps with another node."""
        self._node_id = None

    @property
    def known_node_id(self) -> str | None:
        """The same if it was asked before, by this process or at bring-up; the node need not answer."""
        return self._node_id

    @classmethod
    @abstractmethod
    def service(cls, name: str, spec: NodeSpec, around: RenderContext) -> dict[str, Any]:
        """The node's service in the compose file; `volumes` are named after the node."""

    @classmethod
    @abstractmethod
    def phone_recipe(cls, node: str, asyncpay: str) -> "Recipe":
        """What makes the image of a phone out of that of the node and that of asyncpay: both programs are in it."""

    @classmethod
    @abstractmethod
    def access(cls, host: str, folder: str) -> dict[str, str]:
        """How a component reaches the node: the section `[node]` of its configuration.

        host: where the node's container is; folder: where the component finds what the node has in `folder`.
        """

    @classmethod
    @abstractmethod
    def shared(cls, name: str, folder: str, sockets: Path) -> dict[str, Any]:
        """What a component in another container mounts for that.

        folder: where it mounts the node's `folder`, if at all; sockets: as in `RenderContext`.
        """

    @classmethod
    @abstractmethod
    def recipe_beside_component(cls, node: str) -> "Recipe | None":
        """What makes the image of a node that has a component out of the node's own; None if that one will do."""

    @abstractmethod
    def host_access(self, folder: Path) -> HostAccess:
        """How to reach the node from this machine. Writes the files that this takes into the folder.

        Raises EngineError if the node does not run.
        """

    @abstractmethod
    def forget_connection(self) -> None:
        """Forget the connection: the next call makes a new one (a restarted container has another port)."""

    @abstractmethod
    def missing_to_be_ready(self) -> str | None:
        """None once every call of this interface is answered, otherwise what the node is still at."""

    @abstractmethod
    def info(self) -> Info:
        """Who the node is and how far it has followed the chain."""

    @abstractmethod
    def new_address(self) -> str:
        """A fresh on-chain address of the node's wallet."""

    @abstractmethod
    def onchain_sat(self) -> int:
        """The wallet's confirmed coins."""

    @abstractmethod
    def connect(self, peer: "Node", address: str | None = None) -> None:
        """Dial another node of the testbed; no error if they are connected already.

        address: host:port by which it is reached, and dialled again later; its own unless given.
        """

    @abstractmethod
    def peers(self) -> set[str]:
        """The node ids of those it is connected to, as far as it knows: a half-open connection counts."""

    @abstractmethod
    def disconnect(self, peer: "Node") -> None:
        """Hang up on a connected peer, channels or no channels."""

    @abstractmethod
    def open_channel(self, peer: "Node", channel: ChannelSpec) -> str:
        """Open and fund a channel from confirmed coins; returns its funding output as soon as it is in the mempool."""

    @abstractmethod
    def close_channel(self, channel: Channel) -> None:
        """Close a channel by agreement with its peer; returns once the closing transaction is published.

        Raises NodeError if the peer does not agree within CLOSE_SECONDS.
        """

    @abstractmethod
    def force_close(self, channel: Channel) -> None:
        """Publish this node's own commitment transaction; returns once the node says that it has."""

    @abstractmethod
    def publish_policies(self) -> str | None:
        """Make sure that the policies of the announced channels reach the whole network.

        None once that is done, otherwise what the node still waits for (then call again).
        """

    @abstractmethod
    def channels(self) -> list[Channel]:
        """The open channels, pending ones left out."""

    def channel_balance_msat(self) -> int:
        """What is ours in all open channels, to the millisatoshi, HTLCs in flight left out."""
        return sum(channel.local_msat for channel in self.channels())

    @abstractmethod
    def policies(self) -> dict[ChannelDirection, ChannelPolicy]:
        """The channel directions that the node could route over, and what they charge.

        Own private channels count; a direction whose policy is unknown or disabled does not.
        """

    @abstractmethod
    def announced_nodes(self) -> set[str]:
        """The node ids of those whose node_announcement (BOLT 7) it knows, and so their features."""

    @abstractmethod
    def create_invoice(self, amount_msat: int, description: str = "") -> str:
        """A BOLT 11 invoice, with hints for the private channels that are up; 0 leaves the amount to the payer."""

    @classmethod
    def read_log_line(cls, line: str) -> LogEntry | None:
        """What a line of the node's log tells of messages to and from its peers; None: nothing.

        An implementation whose log tells nothing is seen in the timeline by the logs of its peers alone.
        """
        return None

    def htlc_records(self) -> list[HtlcRecord]:
        """The HTLCs of all of the node's channels, past ones too, where its log names no payment hashes."""
        return []

    def forget_failures(self) -> None:  # noqa: B027 - most nodes remember none
        """Forget which channels failed earlier payments, so that the next one is not led around them."""

    @abstractmethod
    def parts_in_flight(self, payment_hash: str) -> int:
        """How many parts of an own payment the node has sent, and does not know the end of; 0 if it knows none."""

    @abstractmethod
    def pay(self, invoice: str, timeout_seconds: int = 30) -> Payment:
        """Pay a BOLT 11 invoice and wait for the preimage. Raises PaymentError if there is none in the end."""
