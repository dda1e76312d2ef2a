"""LND in the testbed, reached by gRPC with TLS and macaroon as in production."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from asyncpay.nodes.lnd.invoices import hop_hint
from asyncpay.nodes.lnd.node import CAPABILITIES
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.nodes.proto import router_pb2 as router
from asyncpay.nodes.proto.lightning_pb2_grpc import LightningStub, StateStub
from asyncpay.nodes.proto.router_pb2_grpc import RouterStub
from harness.engines.base import Engine
from harness.errors import NodeError, PaymentError
from harness.nodes import lnd_access
from harness.nodes.base import (
    CLOSE_SECONDS,
    P2P_PORT,
    REST_PORT,
    Channel,
    ChannelDirection,
    ChannelPolicy,
    HostAccess,
    Info,
    Node,
    Payment,
    RenderContext,
    volume,
)
from harness.nodes.lnd_connection import MOST_BYTES, LndConnection
from harness.nodes.wire_log import LndLog, LogEntry
from harness.topology import ChannelSpec, ComponentSpec, NodeSpec

if TYPE_CHECKING:
    from harness.images.recipes import Recipe


GRPC_PORT = 10009
LND_DIR = "/root/.lnd"
CERTIFICATE, MACAROON = f"{LND_DIR}/tls.cert", f"{LND_DIR}/admin.macaroon"
ANCHORS_SAT = 2 * 330
COMMITMENT_WEIGHT, HTLC_WEIGHT = 1124, 172
"""Anchor outputs and weights of a commitment transaction (BOLT 3, option_anchors); the opener pays for them."""
CALL_SECONDS = 20

REGTEST = (
    "--bitcoin.regtest",
    "--bitcoin.node=bitcoind",
    "--bitcoin.defaultchanconfs=1",
    "--bitcoin.defaultremotedelay=4",
    "--db.batch-commit-interval=10ms",
    "--trickledelay=50",
    "--gossip.sub-batch-delay=5ms",
    "--caches.rpc-graph-cache-duration=100ms",
    "--noseedbackup",
    "--nobootstrap",
    "--minbackoff=500ms",
    "--maxbackoff=2s",
    "--maxpendingchannels=20",
    "--debuglevel=info,PEER=debug",
)
"""Options for speed on regtest; none of them changes the handling of HTLCs. At PEER=debug LND logs each message of
its peers, which the timeline reads."""
LSP_ARGUMENTS = ("--requireinterceptor",)
"""Without it LND forwards every held HTLC as soon as the component disconnects."""


class LndNode(Node):
    """One LND."""

    implementation = "lnd"
    capabilities = CAPABILITIES
    refuses_unsorted_channels = True
    initial_data_image = "lndwallets"
    cli = ("lncli", "--network=regtest", f"--macaroonpath={MACAROON}")
    balance_unit_msat = 1_000
    folder = LND_DIR
    stop_command = ()

    def __init__(self, name: str, spec: NodeSpec, engine: Engine) -> None:
        super().__init__(name, spec, engine)
        self._connection = LndConnection(name, engine, GRPC_PORT, CERTIFICATE, MACAROON)

    @classmethod
    def service(cls, name: str, spec: NodeSpec, around: RenderContext) -> dict[str, Any]:
        """See Node.service."""
        return {
            "image": around.image,
            "entrypoint": ["lnd"],
            "command": [
                *REGTEST,
                f"--alias={name}",
                f"--lnddir={LND_DIR}",
                f"--adminmacaroonpath={MACAROON}",
                "--nolisten" if spec.is_phone else f"--listen=0.0.0.0:{P2P_PORT}",
                f"--rpclisten=0.0.0.0:{GRPC_PORT}",
                f"--tlsextradomain={name}",
                f"--bitcoind.rpchost=bitcoind:{around.rpc_port}",
                f"--bitcoind.rpcuser={around.rpc_user}",
                f"--bitcoind.rpcpass={around.rpc_password}",
                "--bitcoind.zmqpubrawblock=tcp://bitcoind:28332",
                "--bitcoind.zmqpubrawtx=tcp://bitcoind:28333",
                f"--restlisten=0.0.0.0:{REST_PORT}" if spec.rest else "--norest",
                *(LSP_ARGUMENTS if isinstance(spec.component, ComponentSpec) else ()),
                *spec.args,
            ],
            "volumes": [volume(name, LND_DIR)],
            "ports": [f"127.0.0.1::{port}" for port in (GRPC_PORT, *((REST_PORT,) if spec.rest else ()))],
            "stop_grace_period": "30s",
        }

    @classmethod
    def read_log_line(cls, line: str) -> LogEntry | None:
        """See Node.read_log_line."""
        return LndLog.read(line)

    @classmethod
    def phone_recipe(cls, node: str, asyncpay: str) -> "Recipe":
        """See Node.phone_recipe: LND's programs are static, so they are added to asyncpay's image."""
        from harness.images.recipes import Official, Recipe

        return Recipe("phone", official=Official(asyncpay), node=node, programs=("lnd", "lncli"))

    @classmethod
    def access(cls, host: str, folder: str) -> dict[str, str]:
        """See Node.access."""
        return {
            "implementation": "lnd",
            "address": f"{host}:{GRPC_PORT}",
            "tls_certificate": f"{folder}/tls.cert",
            "macaroon": f"{folder}/admin.macaroon",
        }

    @classmethod
    def shared(cls, name: str, folder: str, sockets: Path) -> dict[str, Any]:
        """See Node.shared: certificate and macaroon are in LND's own folder."""
        return volume(name, folder) | {"read_only": True}

    @classmethod
    def recipe_with_component(cls, node: str) -> "Recipe | None":
        """See Node.recipe_with_component."""
        return None

    def host_access(self, folder: Path) -> HostAccess:
        """See Node.host_access."""
        read = self.engine.read
        try:
            return lnd_access.from_this_machine(
                folder,
                read(self.name, CERTIFICATE, MOST_BYTES),
                read(self.name, MACAROON, MOST_BYTES),
                self.engine.address(self.name, GRPC_PORT),
                self.engine.address(self.name, REST_PORT) if self.spec.rest else None,
            )
        except ValueError:
            raise NodeError(f"{self.name} cannot be reached: {CERTIFICATE} is not a certificate") from None

    @property
    def _calls(self) -> grpc.Channel:
        """The channel for stubs."""
        return self._connection.calls

    @property
    def _lightning(self) -> LightningStub:
        return self._connection.lightning

    def forget_connection(self) -> None:
        """See Node.forget_connection."""
        self._connection.forget()

    @contextmanager
    def _calling(self, what: str) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            self._connection.doubt()
            said = error.details() if isinstance(error, grpc.Call) else error
            raise NodeError(f"{self.name} (LND) did not {what}: {said}") from None

    def missing_to_be_ready(self) -> str | None:
        """See Node.missing_to_be_ready."""
        with self._calling("report its state"):
            state = StateStub(self._calls).GetState(ln.GetStateRequest(), timeout=CALL_SECONDS).state
        if state != ln.SERVER_ACTIVE:
            return f"{self.name} is {ln.WalletState.Name(state)}"
        return None if self.info().synced else f"{self.name} is not synced to the chain"

    def info(self) -> Info:
        """See Node.info."""
        with self._calling("report its identity"):
            info = self._lightning.GetInfo(ln.GetInfoRequest(), timeout=CALL_SECONDS)
        return Info(info.identity_pubkey, info.version.split()[0], info.block_height, info.synced_to_chain)

    def new_address(self) -> str:
        """See Node.new_address."""
        with self._calling("make an address"):
            request = ln.NewAddressRequest(type=ln.WITNESS_PUBKEY_HASH)
            return self._lightning.NewAddress(request, timeout=CALL_SECONDS).address

    def onchain_sat(self) -> int:
        """See Node.onchain_sat."""
        with self._calling("report its on-chain balance"):
            return self._lightning.WalletBalance(ln.WalletBalanceRequest(), timeout=CALL_SECONDS).confirmed_balance

    def connect(self, peer: Node, address: str | None = None) -> None:
        """See Node.connect."""
        there = ln.LightningAddress(pubkey=peer.node_id, host=address or f"{self.engine.host(peer.name)}:{P2P_PORT}")
        try:
            with self._calling(f"connect to {peer.name}"):
                self._lightning.ConnectPeer(ln.ConnectPeerRequest(addr=there), timeout=CALL_SECONDS)
        except NodeError as error:
            if "already connected" not in str(error):
                raise

    def peers(self) -> set[str]:
        """See Node.peers."""
        with self._calling("list its peers"):
            peers = self._lightning.ListPeers(ln.ListPeersRequest(), timeout=CALL_SECONDS).peers
        return {peer.pub_key for peer in peers}

    def disconnect(self, peer: Node) -> None:
        """See Node.disconnect."""
        with self._calling(f"disconnect from {peer.name}"):
            request = ln.DisconnectPeerRequest(pub_key=peer.node_id)
            self._lightning.DisconnectPeer(request, timeout=CALL_SECONDS)

    def open_channel(self, peer: Node, channel: ChannelSpec) -> str:
        """See Node.open_channel."""
        request = ln.OpenChannelRequest(
            node_pubkey=bytes.fromhex(peer.node_id),
            local_funding_amount=channel.capacity_sat,
            push_sat=channel.push_sat,
            private=channel.private,
        )
        with self._calling(f"open a channel to {peer.name}"):
            point = self._lightning.OpenChannelSync(request, timeout=CALL_SECONDS)
        return f"{point.funding_txid_bytes[::-1].hex()}:{point.output_index}"

    def close_channel(self, channel: Channel) -> None:
        """See Node.close_channel: LND reports first that the closing transaction is published."""
        txid, _, index = channel.funding.partition(":")
        point = ln.ChannelPoint(funding_txid_str=txid, output_index=int(index))
        with self._calling(f"close {channel.short_channel_id}"):
            reports = self._lightning.CloseChannel(ln.CloseChannelRequest(channel_point=point), timeout=CLOSE_SECONDS)
            next(reports)
            reports.cancel()

    def force_close(self, channel: Channel) -> None:
        """See Node.force_close."""
        command = [*self.cli, "closechannel", "--force", "--chan_point", channel.funding]
        said = self.engine.output(self.name, command)
        if said.exit_code:
            raise NodeError(f"{self.name} (LND) did not close {channel.short_channel_id}: {said.stderr.strip()}")

    def publish_policies(self) -> str | None:
        """See Node.publish_policies: LND announces a channel and its policy together."""
        return None

    def _channels(self) -> list[ln.Channel]:
        with self._calling("list its channels"):
            return list(self._lightning.ListChannels(ln.ListChannelsRequest(), timeout=CALL_SECONDS).channels)

    def channels(self) -> list[Channel]:
        """See Node.channels."""
        return [
            Channel(
                short_channel_id=_short_channel_id(channel.chan_id),
                funding=channel.channel_point,
                peer_id=channel.remote_pubkey,
                capacity_sat=channel.capacity,
                local_msat=(channel.local_balance + _opener_costs_sat(channel)) * 1_000,
                private=channel.private,
                active=channel.active,
                htlcs=len(channel.pending_htlcs),
                htlcs_locked_in=sum(htlc.locked_in for htlc in channel.pending_htlcs),
                htlc_hashes=frozenset(htlc.hash_lock.hex() for htlc in channel.pending_htlcs),
            )
            for channel in self._channels()
        ]

    def channel_balance_msat(self) -> int:
        """See Node.channel_balance_msat."""
        with self._calling("report its channel balance"):
            balance = self._lightning.ChannelBalance(ln.ChannelBalanceRequest(), timeout=CALL_SECONDS)
        return balance.local_balance.msat + 1_000 * sum(map(_opener_costs_sat, self._channels()))

    def _graph(self) -> ln.ChannelGraph:
        """Return the graph, including own private channels. It is always requested with them: while LND caches a graph
        (caches.rpc-graph-cache-duration), it returns that one for every request (rpcserver.go, DescribeGraph).
        """
        with self._calling("show its graph"):
            request = ln.ChannelGraphRequest(include_unannounced=True)
            return self._lightning.DescribeGraph(request, timeout=CALL_SECONDS)

    def policies(self) -> dict[ChannelDirection, ChannelPolicy]:
        """See Node.policies."""
        found = {}
        for edge in self._graph().edges:
            scid = _short_channel_id(edge.channel_id)
            if edge.HasField("node1_policy") and not edge.node1_policy.disabled:
                found[scid, edge.node1_pub] = _policy(edge.node1_policy)
            if edge.HasField("node2_policy") and not edge.node2_policy.disabled:
                found[scid, edge.node2_pub] = _policy(edge.node2_policy)
        return found

    def announced_nodes(self) -> set[str]:
        """See Node.announced_nodes. LND lists a node without features until it has its announcement."""
        return {node.pub_key for node in self._graph().nodes if node.features}

    def create_invoice(self, amount_msat: int, description: str = "") -> str:
        """See Node.create_invoice. With only private channels, the hints are made here, like in asyncpay's adapter."""
        hints = self._hints()
        request = ln.Invoice(value_msat=amount_msat, memo=description, private=not hints, route_hints=hints)
        with self._calling("make an invoice"):
            return self._lightning.AddInvoice(request, timeout=CALL_SECONDS).payment_request

    def _hints(self) -> list[ln.RouteHint]:
        channels = self._channels()
        if not all(channel.private for channel in channels):
            return []
        with self._calling("look up its channels"):
            hints = [
                hop_hint(channel, self._lightning.GetChanInfo(ln.ChanInfoRequest(chan_id=channel.chan_id)))
                for channel in channels
                if channel.active
            ]
        return [hint for hint in hints if hint is not None]

    def forget_failures(self) -> None:
        """See Node.forget_failures. LND avoids a channel that failed a payment for an hour."""
        with self._calling("forget failures"):
            RouterStub(self._calls).ResetMissionControl(router.ResetMissionControlRequest(), timeout=CALL_SECONDS)

    def parts_in_flight(self, payment_hash: str) -> int:
        """See Node.parts_in_flight."""
        request = router.TrackPaymentRequest(payment_hash=bytes.fromhex(payment_hash))
        try:
            with self._calling("report the state of a payment"):
                updates = RouterStub(self._calls).TrackPaymentV2(request, timeout=CALL_SECONDS)
                payment = next(updates)
                updates.cancel()
        except NodeError as error:
            if "payment isn't initiated" in str(error):
                return 0
            raise
        return sum(attempt.status == ln.HTLCAttempt.IN_FLIGHT for attempt in payment.htlcs)

    def pay(self, invoice: str, timeout_seconds: int = 30) -> Payment:
        """See Node.pay."""
        request = router.SendPaymentRequest(
            payment_request=invoice,
            timeout_seconds=timeout_seconds,
            fee_limit_msat=10_000_000,
            max_parts=16,
            no_inflight_updates=True,
        )
        with self._calling("pay"):
            *_, last = RouterStub(self._calls).SendPaymentV2(request)
        if last.status != ln.Payment.SUCCEEDED:
            reason = ln.PaymentFailureReason.Name(last.failure_reason)
            raise PaymentError(f"{self.name} (LND) could not pay {last.value_msat} msat: {reason}")
        return Payment(last.payment_hash, last.payment_preimage, last.value_msat, last.fee_msat)


def _opener_costs_sat(channel: ln.Channel) -> int:
    """Return the amount that LND subtracts from the opener's balance although no other party has it.

    This is not LND's `commit_fee`, which also includes the remainder of rounding both balances to satoshis.
    """
    if not channel.initiator:
        return 0
    weight = COMMITMENT_WEIGHT + HTLC_WEIGHT * len(channel.pending_htlcs)
    return channel.fee_per_kw * weight // 1_000 + ANCHORS_SAT


def _policy(policy: ln.RoutingPolicy) -> ChannelPolicy:
    return ChannelPolicy(policy.fee_base_msat, policy.fee_rate_milli_msat)


def _short_channel_id(number: int) -> str:
    """Return LND's integer in BOLT 7's notation: block x transaction x output."""
    return f"{number >> 40}x{(number >> 16) & 0xFFFFFF}x{number & 0xFFFF}"
