"""LDK in the testbed: our daemon ldkd (docker/ldk), reached by JSON-RPC over its Unix socket."""

import json
import socket
from pathlib import Path
from typing import Any

from asyncpay.lightning import ShortChannelId
from asyncpay.nodes.ldk.node import CAPABILITIES
from harness.errors import NodeError, PaymentError
from harness.images.recipes import Official, Recipe
from harness.nodes.base import (
    P2P_PORT,
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
from harness.nodes.wire_log import LdkLog, LogEntry
from harness.topology import ChannelSpec, ComponentSpec, NodeSpec

LDK_DIR = "/root/.ldk"
SOCKET_DIR = "/run/ldk"
SOCKET = "rpc.sock"
LSP_ARGUMENTS = ("--hold-forwards",)
"""Without it ldkd forwards HTLCs without interception."""
CALL_SECONDS = 20
MAX_FEE_MSAT = 10_000_000
MAX_CLTV_BLOCKS = 2016


class LdkNode(Node):
    """One ldkd."""

    implementation = "ldk"
    capabilities = CAPABILITIES
    no_dialling = ("--no-redial",)
    cli = ("ldk-cli", "--socket", f"{SOCKET_DIR}/{SOCKET}")
    balance_unit_msat = 1
    folder = LDK_DIR
    stop_command = ()

    @classmethod
    def service(cls, name: str, spec: NodeSpec, around: RenderContext) -> dict[str, Any]:
        """See Node.service."""
        return {
            "image": around.image,
            "entrypoint": ["ldkd"],
            "command": [
                "--network",
                "regtest",
                "--alias",
                name,
                "--data-dir",
                LDK_DIR,
                "--socket",
                f"{SOCKET_DIR}/{SOCKET}",
                *(() if spec.is_phone else ("--listen", f"0.0.0.0:{P2P_PORT}")),
                "--bitcoind-url",
                f"http://bitcoind:{around.rpc_port}",
                "--bitcoind-user",
                around.rpc_user,
                "--bitcoind-password",
                around.rpc_password,
                *(LSP_ARGUMENTS if isinstance(spec.component, ComponentSpec) else ()),
                *spec.args,
            ],
            "volumes": [volume(name, LDK_DIR), cls.shared(name, LDK_DIR, around.sockets)],
            "stop_grace_period": "10s",
        }

    @classmethod
    def read_log_line(cls, line: str) -> LogEntry | None:
        """See Node.read_log_line."""
        return LdkLog.read(line)

    @classmethod
    def phone_recipe(cls, node: str, asyncpay: str) -> Recipe:
        """See Node.phone_recipe: ldkd needs only a C library, so it is added to asyncpay's image."""
        return Recipe("phone", official=Official(asyncpay), node=node, programs=("ldkd", "ldk-cli"))

    @classmethod
    def recipe_with_component(cls, node: str) -> Recipe | None:
        """See Node.recipe_with_component."""
        return None

    @classmethod
    def shared(cls, name: str, folder: str, sockets: Path) -> dict[str, Any]:
        """See Node.shared: only the socket, which is in a folder of this machine, because the testbed uses it, too."""
        return {"type": "bind", "source": str(sockets), "target": SOCKET_DIR}

    @classmethod
    def access(cls, host: str, folder: str) -> dict[str, str]:
        """See Node.access: the socket has its own folder, and is reachable only on this machine."""
        return {"implementation": "ldk", "socket": f"{SOCKET_DIR}/{SOCKET}"}

    def _call(self, method: str, answer_seconds: float = CALL_SECONDS, /, **arguments: Any) -> Any:
        request = {"id": 1, "method": method, "params": arguments}
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(answer_seconds)
                connection.connect(str(self.engine.socket(self.name, SOCKET)))
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile() as answers:
                    answer = json.loads(answers.readline())
        except (OSError, ValueError) as error:
            raise NodeError(f"{self.name} (LDK) does not answer {method}: {error}") from None
        if "error" in answer:
            raise NodeError(f"{self.name} (LDK) refused {method}: {answer['error']['message']}")
        return answer["result"]

    def host_access(self, folder: Path) -> HostAccess:
        """See Node.host_access."""
        socket = str(self.engine.socket(self.name, SOCKET))
        return HostAccess("ldk-cli", ("--socket", socket), {"LDK_SOCKET": socket})

    def forget_connection(self) -> None:
        """See Node.forget_connection: each call opens the socket anew, so there is no connection."""

    def missing_to_be_ready(self) -> str | None:
        """See Node.missing_to_be_ready."""
        return None if self.info().synced else f"{self.name} is not synced to the chain"

    def info(self) -> Info:
        """See Node.info."""
        info = self._call("getinfo")
        return Info(info["id"], info["version"], info["height"], info["synced"])

    def new_address(self) -> str:
        """See Node.new_address."""
        return str(self._call("newaddr")["address"])

    def onchain_sat(self) -> int:
        """See Node.onchain_sat."""
        return int(self._call("listfunds")["confirmed_sat"])

    def connect(self, peer: Node, address: str | None = None) -> None:
        """See Node.connect."""
        self._call("connect", peer=peer.node_id, address=address or f"{self.engine.host(peer.name)}:{P2P_PORT}")

    def peers(self) -> set[str]:
        """See Node.peers."""
        return {peer["id"] for peer in self._call("listpeers")["peers"]}

    def disconnect(self, peer: Node) -> None:
        """See Node.disconnect."""
        self._call("disconnect", peer=peer.node_id)

    def open_channel(self, peer: Node, channel: ChannelSpec) -> str:
        """See Node.open_channel."""
        opened = self._call(
            "openchannel",
            peer=peer.node_id,
            capacity_sat=channel.capacity_sat,
            push_msat=channel.push_sat * 1_000,
            private=channel.private,
        )
        return str(opened["funding"])

    def close_channel(self, channel: Channel) -> None:
        """See Node.close_channel."""
        raise NodeError(f"{self.name} (LDK) cannot close by agreement: ldkd has no RPC for it. Use --force")

    def force_close(self, channel: Channel) -> None:
        """See Node.force_close."""
        for each in self._channels():
            if each["funding"] == channel.funding:
                self._call("forceclose", channel_id=each["channel_id"], peer=each["peer"])

    def publish_policies(self) -> str | None:
        """See Node.publish_policies: LDK announces a channel and its policy together; ldkd then announces its node."""
        public = [channel for channel in self._channels() if not channel["private"]]
        if public and not self._call("announce")["announced"]:
            return f"{self.name} has no announced channel that can be used yet"
        return None

    def _channels(self) -> list[dict[str, Any]]:
        return [channel for channel in self._call("listchannels")["channels"] if channel["ready"]]

    def channels(self) -> list[Channel]:
        """See Node.channels."""
        return [
            Channel(
                short_channel_id=_name(channel["short_channel_id"] or channel["local_alias"]),
                funding=channel["funding"],
                peer_id=channel["peer"],
                capacity_sat=channel["capacity_sat"],
                local_msat=channel["local_msat"],
                private=channel["private"],
                active=channel["usable"],
                htlcs=len(channel["htlcs"]),
                htlcs_locked_in=sum(htlc["locked_in"] for htlc in channel["htlcs"]),
                htlc_hashes=frozenset(htlc["payment_hash"] for htlc in channel["htlcs"]),
            )
            for channel in self._channels()
        ]

    def policies(self) -> dict[ChannelDirection, ChannelPolicy]:
        """See Node.policies. Announced ones are in the graph, own private ones only in the list of channels."""
        found = {
            (_name(one["short_channel_id"]), one["source"]): ChannelPolicy(one["fee_base_msat"], one["fee_ppm"])
            for one in self._call("listgraph")["directions"]
        }
        for channel in self._channels():
            for side, node_id in (("local_policy", self.node_id), ("remote_policy", channel["peer"])):
                if channel["usable"] and channel["short_channel_id"] and (policy := channel[side]):
                    direction = _name(channel["short_channel_id"]), node_id
                    found[direction] = ChannelPolicy(policy["fee_base_msat"], policy["fee_ppm"])
        return found

    def announced_nodes(self) -> set[str]:
        """See Node.announced_nodes."""
        return set(self._call("listgraph")["nodes"])

    def create_invoice(self, amount_msat: int, description: str = "") -> str:
        """See Node.create_invoice."""
        return str(self._call("invoice", amount_msat=amount_msat or None, description=description)["bolt11"])

    def forget_failures(self) -> None:
        """See Node.forget_failures."""
        self._call("resetscores")

    def parts_in_flight(self, payment_hash: str) -> int:
        """See Node.parts_in_flight."""
        known = self._call("lookuppayment", payment_hash=payment_hash)
        return 0 if known is None else int(known["parts_in_flight"])

    def pay(self, invoice: str, timeout_seconds: int = 30) -> Payment:
        """See Node.pay."""
        amount_msat = self._call("decode", text=invoice)["amount_msat"]
        order = {
            "amount_msat": amount_msat,
            "fee_limit_msat": MAX_FEE_MSAT,
            "cltv_limit_blocks": MAX_CLTV_BLOCKS,
            "max_parts": 16,
        }
        try:
            begun = self._call("pay", invoice=invoice, timeout_seconds=timeout_seconds, **order)["payment_hash"]
        except NodeError as error:
            raise PaymentError(f"{self.name} could not pay {amount_msat} msat: {error}") from None
        wait_seconds = timeout_seconds + CALL_SECONDS
        paid = self._call("waitpayment", wait_seconds + CALL_SECONDS, payment_hash=begun, wait_seconds=wait_seconds)
        if paid["preimage"] is None:
            raise PaymentError(f"{self.name} could not pay {amount_msat} msat: {paid['status']} {paid['failure']}")
        return Payment(begun, paid["preimage"], amount_msat, paid["fee_msat"])

    def static_invoice_paths(self, payee: Node) -> list[str]:
        """Of an LSP: the paths by which this payee asks to have its static invoices served, in hex."""
        return list(self._call("staticinvoicepaths", peer=payee.node_id)["paths"])

    def set_static_invoice_server(self, paths: list[str]) -> None:
        """Of a payee: the LSP that made these paths serves its static invoices from now on."""
        self._call("setstaticinvoiceserver", paths=paths)

    def async_offer(self) -> str:
        """Of a payee: a BOLT 12 offer whose static invoice its LSP has. Raises NodeError if there is none yet."""
        return str(self._call("asyncoffer")["offer"])

    def pay_offer(self, offer: str, amount_msat: int) -> str:
        """Begin to pay an offer; the payment's id. It ends as `offer_payment` says."""
        order = {"amount_msat": amount_msat, "fee_limit_msat": MAX_FEE_MSAT, "cltv_limit_blocks": MAX_CLTV_BLOCKS}
        return str(self._call("payoffer", offer=offer, **order)["payment_id"])

    def offer_payment(self, payment_id: str) -> dict[str, Any]:
        """What became of it: `status`, `payment_hash`, `preimage`, `fee_msat`, `failure`, and `locked_in`."""
        payment: dict[str, Any] = self._call("lookupofferpayment", payment_id=payment_id)
        return payment

    def offer_receipts(self) -> set[str]:
        """The payment hashes of what own offers were paid."""
        return {receipt["payment_hash"] for receipt in self._call("listreceipts")["receipts"]}

    def stored_onion_messages(self, peer: Node) -> int:
        """Of an LSP: how many onion messages it keeps for this peer."""
        return int(self._call("listmailbox", peer=peer.node_id)["messages"])

    def onion_messages(self) -> tuple[int, int]:
        """How many it has sent and received since its start; those that it passed on count as both."""
        counted = self._call("gettraffic")["onion_messages"]
        return int(counted["sent"]), int(counted["received"])

    def cltv_delta_blocks(self) -> int:
        """What it asks between the expiries of an HTLC that comes in and the one that goes out (BOLT 7)."""
        return max(int(channel["local_policy"]["cltv_delta"]) for channel in self._channels())

    def incoming_expiry(self, payment_hash: str) -> int | None:
        """The height at which the HTLC that it was offered with this hash expires; None if there is no such HTLC."""
        htlcs = (htlc for channel in self._channels() for htlc in channel["htlcs"])
        ours = (htlc["expiry"] for htlc in htlcs if htlc["direction"] == "in" and htlc["payment_hash"] == payment_hash)
        return next(ours, None)


def _name(number: int) -> str:
    """Return a short channel id in BOLT 7's notation."""
    return str(ShortChannelId(number))
