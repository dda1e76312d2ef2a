//! The node's state as JSON.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::{
    ChannelDetails, ChannelShutdownState, InboundHTLCStateDetails, OutboundHTLCStateDetails,
};
use lightning::routing::gossip::{ChannelInfo, NodeId};
use serde_json::{json, Value};

use crate::hex;
use crate::node::Node;

/// The two anchors of a commitment transaction (BOLT 3), for which the opener of the channel pays.
const ANCHORS_MSAT: u64 = 2 * 330_000;

/// The node's identity, and whether it is synced to the chain.
pub fn info(node: &Node) -> Value {
    json!({
        "id": node.manager.get_our_node_id().to_string(),
        "alias": node.config.alias,
        "version": concat!("ldkd ", env!("CARGO_PKG_VERSION"), " (LDK 0.3.0-rc3)"),
        "network": node.config.network.to_string(),
        "height": node.manager.current_best_block().height,
        "synced": *node.synced.borrow(),
    })
}

/// The numbers of messages sent to peers and received from them since the start, including forwarded ones.
pub fn traffic(node: &Node) -> Value {
    let count = |(sent, received): (u64, u64)| json!({"sent": sent, "received": received});
    json!({"onion_messages": count(node.onions.counts()), "custom_messages": count(node.messages.counts())})
}

/// The connected peers.
pub fn peers(node: &Node) -> Value {
    let peers: Vec<_> = node
        .peers
        .list_peers()
        .iter()
        .map(|peer| {
            json!({
                "id": peer.counterparty_node_id.to_string(),
                "relays_onion_messages": peer.init_features.supports_onion_messages(),
                "inbound": peer.is_inbound_connection,
            })
        })
        .collect();
    json!({"peers": peers})
}

/// All channels that are not closed, with their HTLCs.
pub fn channels(node: &Node) -> Value {
    let connected: std::collections::HashSet<_> =
        node.peers.list_peers().iter().map(|peer| peer.counterparty_node_id).collect();
    let channels: Vec<_> = node
        .manager
        .list_channels()
        .iter()
        .map(|one| channel(one, connected.contains(&one.counterparty.node_id)))
        .collect();
    json!({"channels": channels})
}

fn channel(of: &ChannelDetails, connected: bool) -> Value {
    let incoming = of.pending_inbound_htlcs.iter().map(|htlc| {
        json!({
            "direction": "in",
            "id": htlc.htlc_id,
            "payment_hash": hex::text(&htlc.payment_hash.0),
            "amount_msat": htlc.amount_msat,
            "expiry": htlc.cltv_expiry,
            "locked_in": htlc.state == Some(InboundHTLCStateDetails::Committed),
            "leaving": matches!(
                htlc.state,
                Some(
                    InboundHTLCStateDetails::AwaitingRemoteRevokeToRemoveFail
                        | InboundHTLCStateDetails::AwaitingRemoteRevokeToRemoveFulfill
                )
            ),
        })
    });
    let outgoing = of.pending_outbound_htlcs.iter().map(|htlc| {
        json!({
            "direction": "out",
            "id": htlc.htlc_id, // null if it is not sent yet
            "payment_hash": hex::text(&htlc.payment_hash.0),
            "amount_msat": htlc.amount_msat,
            "expiry": htlc.cltv_expiry,
            "locked_in": htlc.state == Some(OutboundHTLCStateDetails::Committed),
            "leaving": matches!(
                htlc.state,
                Some(
                    OutboundHTLCStateDetails::AwaitingRemoteRevokeToRemoveSuccess
                        | OutboundHTLCStateDetails::AwaitingRemoteRevokeToRemoveFailure
                )
            ),
        })
    });
    let forwarding = of.counterparty.forwarding_info.as_ref();
    json!({
        "channel_id": hex::text(&of.channel_id.0),
        "peer": of.counterparty.node_id.to_string(),
        "funding": of.funding_txo.map(|output| format!("{}:{}", output.txid, output.index)),
        "short_channel_id": of.short_channel_id,
        // The alias that this node assigned, for the peer's payers, and the one that the peer assigned, for this node's
        // payers.
        "local_alias": of.outbound_scid_alias,
        "remote_alias": of.inbound_scid_alias,
        "capacity_sat": of.channel_value_satoshis,
        "local_msat": local_msat(of),
        "private": !of.is_announced,
        "ready": of.is_channel_ready,
        "connected": connected,
        "usable": of.is_usable,
        "closing": of.channel_shutdown_state.is_some_and(|s| s != ChannelShutdownState::NotShuttingDown),
        "local_policy": of.config.map(|config| json!({
            "fee_base_msat": config.forwarding_fee_base_msat,
            "fee_ppm": config.forwarding_fee_proportional_millionths,
            "cltv_delta": config.cltv_expiry_delta,
        })),
        "remote_policy": forwarding.map(|policy| json!({
            "fee_base_msat": policy.fee_base_msat,
            "fee_ppm": policy.fee_proportional_millionths,
            "cltv_delta": policy.cltv_expiry_delta,
        })),
        "htlcs": incoming.chain(outgoing).collect::<Vec<_>>(),
    })
}

/// This node's balance, without HTLCs in flight. LDK does not report it, but reports what can be sent beyond the
/// reserve, and the same for the peer. The opener's balance includes the anchors too.
fn local_msat(of: &ChannelDetails) -> u64 {
    let anchors = |opener: bool| if opener { ANCHORS_MSAT } else { 0 };
    let reserve = of.unspendable_punishment_reserve.unwrap_or(0) * 1_000;
    if of.outbound_capacity_msat > 0 {
        return of.outbound_capacity_msat + reserve + anchors(of.is_outbound);
    }
    // A capacity of 0 does not determine the balance: then it is what is neither the peer's nor in flight.
    let theirs =
        of.inbound_capacity_msat + of.counterparty.unspendable_punishment_reserve * 1_000 + anchors(!of.is_outbound);
    let incoming: u64 = of.pending_inbound_htlcs.iter().map(|htlc| htlc.amount_msat).sum();
    let outgoing: u64 = of.pending_outbound_htlcs.iter().map(|htlc| htlc.amount_msat).sum();
    (of.channel_value_satoshis * 1_000).saturating_sub(theirs + incoming + outgoing)
}

/// The graph: announced nodes, and the enabled directions of channels.
pub fn graph(node: &Node) -> Value {
    let graph = node.graph.read_only();
    let nodes: Vec<_> = graph
        .nodes()
        .unordered_iter()
        .filter(|(_, node)| node.announcement_info.is_some())
        .map(|(id, _)| id.to_string())
        .collect();
    let directions: Vec<_> = graph
        .channels()
        .unordered_iter()
        .flat_map(|(scid, channel)| {
            [(channel.node_one, &channel.one_to_two), (channel.node_two, &channel.two_to_one)].into_iter().filter_map(
                move |(source, update)| {
                    let update = update.as_ref().filter(|update| update.enabled)?;
                    Some(json!({
                        "short_channel_id": scid,
                        "source": source.to_string(),
                        "fee_base_msat": update.fees.base_msat,
                        "fee_ppm": update.fees.proportional_millionths,
                    }))
                },
            )
        })
        .collect();
    json!({"nodes": nodes, "directions": directions})
}

/// The graph's data about one node; null if it has none.
pub fn graph_node(node: &Node, of: &PublicKey) -> Value {
    let graph = node.graph.read_only();
    let id = NodeId::from_pubkey(of);
    let Some(found) = graph.nodes().get(&id) else { return Value::Null };
    let relays =
        found.announcement_info.as_ref().is_some_and(|announced| announced.features().supports_onion_messages());
    let other = |channel: &ChannelInfo| match channel.node_one == id {
        true => channel.one_to_two.as_ref().filter(|u| u.enabled).map(|_| channel.node_two),
        false => channel.two_to_one.as_ref().filter(|u| u.enabled).map(|_| channel.node_one),
    };
    let neighbours: Vec<_> = found
        .channels
        .iter()
        .filter_map(|scid| other(graph.channels().get(scid)?))
        .map(|neighbour| neighbour.to_string())
        .collect();
    json!({"relays_onion_messages": relays, "neighbours": neighbours})
}
