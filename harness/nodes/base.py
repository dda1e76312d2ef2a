"""The testbed's interface to a Lightning node of any implementation."""

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
"""The REST port of a node with `rest`. A phone's own HTTP is on 8080."""
CLOSE_SECONDS = 60


@dataclass(frozen=True)
class RenderContext:
    """The inputs of a node's compose service in addition to its own spec."""

    image: str
    rpc_user: str
    rpc_password: str
    rpc_port: int
    sockets: Path
    """A folder on this machine, mounted into the container, for a node whose RPC is a Unix socket."""


def volume(name: str, target: str) -> dict[str, str]:
    """Return a named volume in a service. The short form would treat a one-letter name as a Windows drive."""
    return {"type": "volume", "source": name, "target": target}


@dataclass(frozen=True)
class HostAccess:
    """Access to a node for a program on this machine.

    program: the node's own CLI; arguments: its connection options. variables: environment for other programs.
    """

    program: str
    arguments: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Info:
    """A node's id, version, height and sync state as it reports them."""

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
    """Exact on CLN; rounded to satoshis on LND, whose RPC has only those (`Node.channel_balance_msat` is exact)."""
    private: bool
    active: bool
    htlcs: int
    """The number of HTLCs in this end's own commitment (LND), or offered by either end (CLN)."""
    htlcs_locked_in: int
    """How many of these are in both ends' commitments and not being removed, as far as this end knows (BOLT 2)."""
    htlc_hashes: frozenset[str] = frozenset()
    """The payment hashes of all of them, in hex."""


ChannelDirection = tuple[str, str]
"""One direction of a channel: its short_channel_id, and the node id of the end that forwards."""


@dataclass(frozen=True)
class ChannelPolicy:
    """A node's fees for forwarding an HTLC (BOLT 7, channel_update)."""

    fee_base_msat: int
    fee_ppm: int

    def fee_msat(self, forwarded_msat: int) -> int:
        """Return the fee for an outgoing HTLC of this amount."""
        return self.fee_base_msat + forwarded_msat * self.fee_ppm // 1_000_000


@dataclass(frozen=True)
class Payment:
    """A settled payment as its payer reports it."""

    payment_hash: str
    preimage: str
    amount_msat: int
    fee_msat: int


class Node(ABC):
    """One running node. Every call raises NodeError if the node refuses it or does not answer."""

    implementation: ClassVar[str]
    """The name of the class's file."""
    capabilities: ClassVar[Capabilities]
    """The capabilities that asyncpay's adapter for this implementation declares."""
    no_dialling: ClassVar[tuple[str, ...]] = ()
    """Arguments that prevent the node from dialling its peers by itself, for tests in which a peer is offline."""
    reports_only_to_plugin: ClassVar[bool] = False
    """Only our plugin, which is part of a component, reports messages and HTLCs: an adapter needs it to attach."""
    lists_channels_unsorted: ClassVar[bool] = False
    """It may answer query_channel_range (BOLT 7) with channels that are not in the order of their ids."""
    refuses_unsorted_channels: ClassVar[bool] = False
    """It disconnects a peer that does so, at each reconnection."""
    initial_data_image: ClassVar[str | None] = None
    """A kind of image with folders 0, 1, ..., each of which is the initial content of a node's volume; None if the node
    creates its files fast. They are valid for the pinned image only, not for another version."""
    cli: ClassVar[tuple[str, ...]]
    """The node's CLI command inside its container, without arguments."""
    balance_unit_msat: ClassVar[int]
    """The unit to which `Channel.local_msat` is rounded down."""
    folder: ClassVar[str]
    """The mount point of its volume in its container, with the credentials that a component needs."""
    stop_command: ClassVar[tuple[str, ...]]
    """The command that shuts it down cleanly, if SIGTERM does not."""

    def __init__(self, name: str, spec: NodeSpec, engine: Engine) -> None:
        self.name = name
        self.spec = spec
        self.engine = engine
        self._node_id: str | None = None

    @property
    def node_id(self) -> str:
        """The node's public key, 33 bytes in hex. Queried once, unless it is already known."""
        if self._node_id is None:
            self._node_id = self.info().node_id
        return self._node_id

    @node_id.setter
    def node_id(self, known: str) -> None:
        self._node_id = known

    def forget_id(self) -> None:
        """Discard the node id: the container is created anew, possibly with another node."""
        self._node_id = None

    @property
    def known_node_id(self) -> str | None:
        """The node id if it was queried before, by this process or at bring-up; the node need not answer."""
        return self._node_id

    @classmethod
    @abstractmethod
    def service(cls, name: str, spec: NodeSpec, around: RenderContext) -> dict[str, Any]:
        """The node's service in the compose file; `volumes` are named after the node."""

    @classmethod
    @abstractmethod
    def phone_recipe(cls, node: str, asyncpay: str) -> "Recipe":
        """Return the recipe of a phone's image from the node's image and asyncpay's: it has both programs."""

    @classmethod
    @abstractmethod
    def access(cls, host: str, folder: str) -> dict[str, str]:
        """Return the section `[node]` of a component's configuration.

        host: the host name of the node's container; folder: the component's mount point of the node's `folder`.
        """

    @classmethod
    @abstractmethod
    def shared(cls, name: str, folder: str, sockets: Path) -> dict[str, Any]:
        """Return the mounts that a component in another container needs for `access`.

        folder: its mount point of the node's `folder`, if it mounts that; sockets: as in `RenderContext`.
        """

    @classmethod
    @abstractmethod
    def recipe_with_component(cls, node: str) -> "Recipe | None":
        """Return the recipe of the image for a node with a component; None if the node's own image is sufficient."""

    @abstractmethod
    def host_access(self, folder: Path) -> HostAccess:
        """Return the access to the node from this machine, and write the necessary files into the folder.

        Raises EngineError if the node does not run.
        """

    @abstractmethod
    def forget_connection(self) -> None:
        """Discard the connection: the next call makes a new one (a restarted container has another port)."""

    @abstractmethod
    def missing_to_be_ready(self) -> str | None:
        """Return None once every call of this interface is answered, otherwise a description of what is missing."""

    @abstractmethod
    def info(self) -> Info:
        """Return the node's identity and sync state."""

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
        """Return the node ids of its connected peers, as far as it knows: a half-open connection counts."""

    @abstractmethod
    def disconnect(self, peer: "Node") -> None:
        """Disconnect a peer, even if there are channels with it."""

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

        Return None once that is done, otherwise a description of what is missing (then call again).
        """

    @abstractmethod
    def channels(self) -> list[Channel]:
        """The open channels, pending ones left out."""

    def channel_balance_msat(self) -> int:
        """Return this node's balance in all open channels, exact to the millisatoshi, without HTLCs in flight."""
        return sum(channel.local_msat for channel in self.channels())

    @abstractmethod
    def policies(self) -> dict[ChannelDirection, ChannelPolicy]:
        """Return the channel directions that the node could route over, and their policies.

        Includes its own private channels, but no direction whose policy is unknown or disabled.
        """

    @abstractmethod
    def announced_nodes(self) -> set[str]:
        """Return the ids of the nodes whose node_announcement (BOLT 7) it knows, and therefore their features."""

    @abstractmethod
    def create_invoice(self, amount_msat: int, description: str = "") -> str:
        """A BOLT 11 invoice, with hints for the private channels that are up; 0 leaves the amount to the payer."""

    @classmethod
    def read_log_line(cls, line: str) -> LogEntry | None:
        """Parse a line of the node's log about messages to and from its peers; None for any other line.

        If an implementation logs no messages, the timeline shows them only from the logs of its peers.
        """
        return None

    def htlc_records(self) -> list[HtlcRecord]:
        """Return the HTLCs of all channels, past ones included, if the node's log has no payment hashes."""
        return []

    def forget_failures(self) -> None:  # noqa: B027 - most nodes store none
        """Discard the history of failed payments, so that the next payment does not avoid those channels."""

    @abstractmethod
    def parts_in_flight(self, payment_hash: str) -> int:
        """Return the number of sent parts of its own payment that are not resolved yet; 0 for an unknown payment."""

    @abstractmethod
    def pay(self, invoice: str, timeout_seconds: int = 30) -> Payment:
        """Pay a BOLT 11 invoice and wait for the preimage. Raises PaymentError if the payment fails."""
