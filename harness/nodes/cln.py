"""Core Lightning in the testbed, reached by pyln-client over its Unix socket."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyln.client import LightningRpc, RpcError

from asyncpay.nodes.cln.node import CAPABILITIES
from harness.errors import NodeError, PaymentError
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
from harness.nodes.wire_log import ClnLog, HtlcRecord, LogEntry
from harness.topology import ChannelSpec, NodeSpec

if TYPE_CHECKING:
    from harness.images.recipes import Recipe


CLN_DIR = "/root/.lightning"
SOCKET_DIR = "/run/cln"
SOCKET = "rpc.sock"

REGTEST = (
    "--network=regtest",
    "--developer",
    "--dev-fast-gossip",
    "--dev-bitcoind-poll=1",
    "--dev-fast-reconnect",
    "--dev-allow-localhost",
    "--disable-dns",
    "--autoconnect-seeker-peers=0",
    "--allow-deprecated-apis=false",
    "--rescan=1",
    "--cltv-delta=34",
    "--cltv-final=18",
    "--log-level=info",
    "--log-level=debug:chan#",
    "--log-level=debug:connectd",
)
"""Options for speed on regtest; logs of HTLCs and messages, which the timeline reads; and the CLTV deltas of mainnet:
those of regtest, 6 and 10, leave no time for an HTLC to wait for an offline phone."""
PUBLISHED_FEE_BASE_MSAT = 1_000
"""The base fee of announced channels, the same as LND's; lightningd's own default on regtest is 1 msat."""
PLUGIN_ARGUMENTS = ("--important-plugin=/opt/asyncpay/asyncpay/nodes/cln/plugin.py",)
"""The plugin's path in docker/asyncpay. If it were not important, lightningd would keep running without it."""
LOCKED_IN = ("SENT_ADD_ACK_REVOCATION", "RCVD_ADD_ACK_REVOCATION")
"""The states of an HTLC between its arrival in both commitments and its removal from the first of them."""
REST_PLUGIN = "clnrest"
UNUSED_PLUGINS = (
    "cln-grpc",
    REST_PLUGIN,
    "wss-proxy",
    "cln-bip353",
    "cln-currencyrate",
    "cln-lsps-client",
    "cln-lsps-service",
    "cln-renepay",
    "autoclean",
    "funder",
    "recklessrpc",
    "commando",
)
"""Plugins that no role needs; each would be an additional process in every container."""


class ClnNode(Node):
    """One lightningd."""

    implementation = "cln"
    capabilities = CAPABILITIES
    no_dialling = ("--dev-no-reconnect",)
    reports_only_to_plugin = True
    lists_channels_unsorted = True
    cli = ("lightning-cli", f"--rpc-file={SOCKET_DIR}/{SOCKET}")
    balance_unit_msat = 1
    folder = CLN_DIR
    stop_command = (*cli, "stop")

    @classmethod
    def service(cls, name: str, spec: NodeSpec, around: RenderContext) -> dict[str, Any]:
        """See Node.service."""
        return {
            "image": around.image,
            "entrypoint": ["lightningd"],
            "command": [
                *REGTEST,
                *(f"--disable-plugin={plugin}" for plugin in UNUSED_PLUGINS if plugin != REST_PLUGIN or not spec.rest),
                *((f"--clnrest-port={REST_PORT}", "--clnrest-host=0.0.0.0") if spec.rest else ()),
                f"--alias={name}",
                f"--lightning-dir={CLN_DIR}",
                f"--rpc-file={SOCKET_DIR}/{SOCKET}",
                "--rpc-file-mode=0666",  # for this user, if the engine runs as another one; the folder is private
                "--autolisten=false" if spec.is_phone else f"--addr=0.0.0.0:{P2P_PORT}",
                "--bitcoin-rpcconnect=bitcoind",
                f"--bitcoin-rpcport={around.rpc_port}",
                f"--bitcoin-rpcuser={around.rpc_user}",
                f"--bitcoin-rpcpassword={around.rpc_password}",
                *(PLUGIN_ARGUMENTS if spec.component else ()),
                *spec.args,
            ],
            "volumes": [volume(name, CLN_DIR), cls.shared(name, CLN_DIR, around.sockets)],
            "ports": [f"127.0.0.1::{REST_PORT}"] if spec.rest else [],
            "stop_grace_period": "10s",
        }

    @classmethod
    def read_log_line(cls, line: str) -> LogEntry | None:
        """See Node.read_log_line."""
        return ClnLog.read(line)

    def htlc_records(self) -> list[HtlcRecord]:
        """See Node.htlc_records: the log identifies an HTLC only by its id in the channel."""
        peers = {_name(channel): channel["peer_id"] for channel in self._channels()}
        return [
            HtlcRecord(
                htlc["short_channel_id"],
                htlc["id"],
                htlc["direction"] == "in",
                htlc["payment_hash"],
                int(htlc["amount_msat"]),
                htlc["expiry"],
                peers.get(htlc["short_channel_id"], ""),
            )
            for htlc in self._call("listhtlcs")["htlcs"]
        ]

    @classmethod
    def phone_recipe(cls, node: str, asyncpay: str) -> "Recipe":
        """See Node.phone_recipe: lightningd needs libraries of its image, so asyncpay is added to that image."""
        from harness.images.recipes import Official, Recipe

        return Recipe("asyncpay", official=Official(node))

    @classmethod
    def recipe_with_component(cls, node: str) -> "Recipe | None":
        """See Node.recipe_with_component: the plugin runs inside lightningd's container."""
        from harness.images.recipes import Official, Recipe

        return Recipe("asyncpay", official=Official(node))

    @classmethod
    def shared(cls, name: str, folder: str, sockets: Path) -> dict[str, Any]:
        """See Node.shared: only the socket, which is in a folder of this machine, because the testbed uses it, too."""
        return {"type": "bind", "source": str(sockets), "target": SOCKET_DIR}

    @classmethod
    def access(cls, host: str, folder: str) -> dict[str, str]:
        """See Node.access: the socket has its own folder, and is reachable only on this machine."""
        return {"implementation": "cln", "rpc_file": f"{SOCKET_DIR}/{SOCKET}"}

    def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = LightningRpc(str(self.engine.socket(self.name, SOCKET))).call(method, arguments)
        except RpcError as error:
            said = error.error.get("message", error.error) if isinstance(error.error, Mapping) else error.error
            raise NodeError(f"{self.name} (CLN) refused {method}: {said}") from None
        except (OSError, ValueError) as error:
            raise NodeError(f"{self.name} (CLN) does not answer {method}: {error}") from None
        return answer

    def host_access(self, folder: Path) -> HostAccess:
        """See Node.host_access. clnrest requires a rune, and has a certificate from its own CA."""
        socket = self.engine.socket(self.name, SOCKET)
        variables = {"CLN_RPC_FILE": str(socket)}
        if self.spec.rest:
            authority = folder / "ca.pem"
            authority.write_bytes(self.engine.read(self.name, f"{CLN_DIR}/regtest/ca.pem"))
            variables |= {
                "CLN_REST": f"https://{self.engine.address(self.name, REST_PORT)}",
                "CLN_RUNE": str(self._call("createrune")["rune"]),
                "CLN_CA": str(authority),
            }
        return HostAccess("lightning-cli", (f"--rpc-file={socket}",), variables)

    def forget_connection(self) -> None:
        """See Node.forget_connection: each call opens the socket anew, so there is no connection."""

    def missing_to_be_ready(self) -> str | None:
        """See Node.missing_to_be_ready."""
        return None if self.info().synced else f"{self.name} is not synced to the chain"

    def info(self) -> Info:
        """See Node.info."""
        info = self._call("getinfo")
        synced = "warning_bitcoind_sync" not in info and "warning_lightningd_sync" not in info
        return Info(info["id"], info["version"], info["blockheight"], synced)

    def new_address(self) -> str:
        """See Node.new_address."""
        return str(self._call("newaddr", addresstype="bech32")["bech32"])

    def onchain_sat(self) -> int:
        """See Node.onchain_sat."""
        outputs = self._call("listfunds")["outputs"]
        return sum(int(o["amount_msat"]) for o in outputs if o["status"] == "confirmed") // 1_000

    def connect(self, peer: Node, address: str | None = None) -> None:
        """See Node.connect."""
        host, _, port = (address or f"{self.engine.host(peer.name)}:{P2P_PORT}").partition(":")
        self._call("connect", id=peer.node_id, host=host, port=int(port))

    def peers(self) -> set[str]:
        """See Node.peers."""
        return {peer["id"] for peer in self._call("listpeers")["peers"] if peer["connected"]}

    def disconnect(self, peer: Node) -> None:
        """See Node.disconnect."""
        self._call("disconnect", id=peer.node_id, force=True)

    def open_channel(self, peer: Node, channel: ChannelSpec) -> str:
        """See Node.open_channel."""
        opened = self._call(
            "fundchannel",
            id=peer.node_id,
            amount=channel.capacity_sat,
            push_msat=channel.push_sat * 1_000,
            announce=not channel.private,
        )
        return f"{opened['txid']}:{opened['outnum']}"

    def close_channel(self, channel: Channel) -> None:
        """See Node.close_channel. `close` itself waits without limit, or force-closes after its own timeout."""
        close = (*self.cli, "close", "-k", f"id={channel.short_channel_id}", "unilateraltimeout=0")
        said = self.engine.output(self.name, ["timeout", str(CLOSE_SECONDS), *close])
        if said.exit_code:
            why = (said.stdout + said.stderr).strip() or f"the peer has not agreed within {CLOSE_SECONDS} s"
            raise NodeError(f"{self.name} (CLN) did not close {channel.short_channel_id}: {why}")

    def force_close(self, channel: Channel) -> None:
        """See Node.force_close: `close` requires a timeout of at least one second for the peer."""
        self._call("close", id=channel.short_channel_id, unilateraltimeout=1)

    def publish_policies(self) -> str | None:
        """See Node.publish_policies.

        CLN's first channel_update says "do not forward" (BOLT 7, the channel is not announced yet). The next one
        differs only in that, and an LND at the other end regards it as a keep-alive and does not relay it for a day
        (LND's discovery.IsKeepAliveUpdate). Therefore its fees are changed once a channel is announced.
        """
        announced = {c["short_channel_id"] for c in self._call("listchannels", source=self.node_id)["channels"]}
        for channel in self._channels():
            scid = _name(channel)
            if not channel["private"] and channel["updates"]["local"]["fee_base_msat"] != PUBLISHED_FEE_BASE_MSAT:
                if scid not in announced:
                    return f"{self.name} has not announced {scid} yet"
                self._call("setchannel", id=scid, feebase=PUBLISHED_FEE_BASE_MSAT, feeppm=1)
        return None

    def _channels(self) -> list[dict[str, Any]]:
        channels = self._call("listpeerchannels")["channels"]
        return [channel for channel in channels if channel["state"] in ("CHANNELD_NORMAL", "CHANNELD_AWAITING_SPLICE")]

    def channels(self) -> list[Channel]:
        """See Node.channels."""
        return [
            Channel(
                short_channel_id=_name(channel),
                funding=f"{channel['funding_txid']}:{channel['funding_outnum']}",
                peer_id=channel["peer_id"],
                capacity_sat=int(channel["total_msat"]) // 1_000,
                local_msat=int(channel["to_us_msat"]),
                private=channel["private"],
                active=channel["peer_connected"] and channel["reestablished"],
                htlcs=len(channel["htlcs"]),
                htlcs_locked_in=sum(htlc["state"] in LOCKED_IN for htlc in channel["htlcs"]),
                htlc_hashes=frozenset(htlc["payment_hash"] for htlc in channel["htlcs"]),
            )
            for channel in self._channels()
        ]

    def policies(self) -> dict[ChannelDirection, ChannelPolicy]:
        """See Node.policies. Announced ones are in `listchannels`, own private ones only in `listpeerchannels`."""
        found = {
            (c["short_channel_id"], c["source"]): ChannelPolicy(int(c["base_fee_millisatoshi"]), c["fee_per_millionth"])
            for c in self._call("listchannels")["channels"]
            if c["active"]
        }
        for channel in self._channels():
            for side, node_id in (("local", self.node_id), ("remote", channel["peer_id"])):
                if channel["peer_connected"] and (update := channel.get("updates", {}).get(side)):
                    policy = ChannelPolicy(int(update["fee_base_msat"]), update["fee_proportional_millionths"])
                    found[_name(channel), node_id] = policy
        return found

    def announced_nodes(self) -> set[str]:
        """See Node.announced_nodes. CLN lists only a node's id until it has its announcement."""
        return {node["nodeid"] for node in self._call("listnodes")["nodes"] if "features" in node}

    def create_invoice(self, amount_msat: int, description: str = "") -> str:
        """See Node.create_invoice. A node with only private channels names them, like asyncpay's adapter."""
        channels = self._channels()
        names = [_name(channel) for channel in channels]
        invoice = self._call(
            "invoice",
            amount_msat=amount_msat or "any",
            label=str(uuid.uuid4()),
            description=description,
            exposeprivatechannels=names if channels and all(channel["private"] for channel in channels) else True,
        )
        return str(invoice["bolt11"])

    def parts_in_flight(self, payment_hash: str) -> int:
        """See Node.parts_in_flight."""
        parts = self._call("listsendpays", payment_hash=payment_hash)["payments"]
        return sum(part["status"] == "pending" for part in parts)

    def pay(self, invoice: str, timeout_seconds: int = 30) -> Payment:
        """See Node.pay."""
        payment_hash = self._call("decode", string=invoice)["payment_hash"]
        try:
            paid = self._call("xpay", invstring=invoice, maxfee="10000sat", retry_for=timeout_seconds)
        except NodeError as error:
            raise PaymentError(f"{self.name} could not pay {payment_hash}: {error}") from None
        amount_msat = int(paid["amount_msat"])
        return Payment(payment_hash, paid["payment_preimage"], amount_msat, int(paid["amount_sent_msat"]) - amount_msat)


def _name(channel: dict[str, Any]) -> str:
    """Return the short channel id; a zero-conf channel has none before its confirmation, but our alias."""
    return str(channel.get("short_channel_id") or channel["alias"]["local"])
