//! What LDK 0.3 says of this node and its channels, corrected where peers would not pass it on.
//!
//! The timestamp of LDK's own node_announcement is the second in which the process started, plus one for each
//! announcement (PeerManager::last_node_announcement_serial). A peer forwards nothing that is older than the
//! gossip_timestamp_filter that it received (BOLT 7), and LND sets that filter to the second in which it connected. So
//! each own announcement is reissued with the current time.
//!
//! The first channel_update of a channel has the timestamp 2: LDK counts from 1 until it has seen a block header after
//! the channel's confirmation (ChannelContext::update_time_counter). LDK sends that update only to the channel peer.
//! LND sends a channel_announcement only if an update of the same batch is new enough (discovery/syncer.go,
//! FilterGossipMsgs), so nodes behind an LND node would sometimes not learn of the channel. Therefore that update is
//! not sent for a channel that will be announced: another update follows with the announcement.
//!
//! Core Lightning takes a channel_update from its channel peer for that of a private channel, and does not publish it,
//! if it has not yet announced the channel (gossipd/gossmap_manage.c, gossmap_manage_channel_update). LDK sends its
//! update directly after announcement_signatures, which is too early. So the update is sent again to a channel peer
//! that sends the channel's announcement.

use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::*;
use lightning::routing::gossip::NodeId;
use lightning::sign::NodeSigner;

use crate::types::Graph;

/// No update is older than Bitcoin: a lower timestamp (Unix seconds) is a counter value.
const GENESIS: u32 = 1_231_006_505;
/// The bit in message_flags of a channel_update for the channel peer alone (BOLT 7).
pub const DONT_FORWARD: u8 = 2;

/// Return the latest update by `own` of its channel with `peer`, if this is the announcement of one.
pub fn own_update(
    graph: &Graph,
    channel: &UnsignedChannelAnnouncement,
    own: &PublicKey,
    peer: &PublicKey,
) -> Option<ChannelUpdate> {
    let (own, peer) = (NodeId::from_pubkey(own), NodeId::from_pubkey(peer));
    let own_is_first = match (channel.node_id_1, channel.node_id_2) {
        (first, second) if first == own && second == peer => true,
        (first, second) if first == peer && second == own => false,
        _ => return None,
    };
    let graph = graph.read_only();
    let known = graph.channels().get(&channel.short_channel_id)?;
    let direction = if own_is_first { &known.one_to_two } else { &known.two_to_one };
    direction.as_ref()?.last_update_message.clone()
}

/// Return the same announcement with timestamp `now` (Unix seconds), if it is older than that.
pub fn renewed(message: &NodeAnnouncement, now: u32, keys: &impl NodeSigner) -> Option<NodeAnnouncement> {
    if message.contents.timestamp >= now {
        return None;
    }
    let contents = UnsignedNodeAnnouncement { timestamp: now, ..message.contents.clone() };
    let signature = keys.sign_gossip_message(UnsignedGossipMessage::NodeAnnouncement(&contents)).ok()?;
    Some(NodeAnnouncement { signature, contents })
}

/// Return whether this is the update of a public channel, sent before its announcement, whose timestamp is a counter
/// value.
pub fn is_counted_update(event: &MessageSendEvent) -> bool {
    let MessageSendEvent::SendChannelUpdate { msg, .. } = event else { return false };
    msg.contents.timestamp < GENESIS && msg.contents.message_flags & DONT_FORWARD == 0
}

/// Return the present time in Unix seconds.
pub fn unix_seconds() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::secp256k1::ecdsa::Signature;
    use bitcoin::secp256k1::Secp256k1;
    use lightning::routing::gossip::NodeAlias;
    use lightning::sign::{KeysManager, Recipient};
    use lightning::types::features::NodeFeatures;
    use std::sync::Arc;

    fn announcement(keys: &KeysManager, timestamp: u32) -> NodeAnnouncement {
        let contents = UnsignedNodeAnnouncement {
            features: NodeFeatures::empty(),
            timestamp,
            node_id: NodeId::from_pubkey(&keys.get_node_id(Recipient::Node).unwrap()),
            rgb: [0; 3],
            alias: NodeAlias([7; 32]),
            addresses: Vec::new(),
            excess_address_data: Vec::new(),
            excess_data: Vec::new(),
        };
        let signature = keys.sign_gossip_message(UnsignedGossipMessage::NodeAnnouncement(&contents)).unwrap();
        NodeAnnouncement { signature, contents }
    }

    #[test]
    fn an_old_announcement_is_signed_anew_with_the_present_time() {
        let keys = KeysManager::new(&[1; 32], 0, 0, true);
        let newer = renewed(&announcement(&keys, 1_000), 2_000, &keys).unwrap();
        assert_eq!(newer.contents.timestamp, 2_000);
        assert_eq!(newer.contents.alias, NodeAlias([7; 32]));
        lightning::routing::gossip::verify_node_announcement(&newer, &Secp256k1::verification_only()).unwrap();
    }

    #[test]
    fn one_that_is_new_enough_is_left_as_it_is() {
        let keys = KeysManager::new(&[1; 32], 0, 0, true);
        assert!(renewed(&announcement(&keys, 2_000), 2_000, &keys).is_none());
        assert!(renewed(&announcement(&keys, 2_001), 2_000, &keys).is_none());
    }

    fn update(timestamp: u32, message_flags: u8) -> ChannelUpdate {
        let contents = UnsignedChannelUpdate {
            chain_hash: bitcoin::constants::ChainHash::REGTEST,
            short_channel_id: 1,
            timestamp,
            message_flags: 1 | message_flags,
            channel_flags: 0,
            cltv_expiry_delta: 40,
            htlc_minimum_msat: 1,
            htlc_maximum_msat: 1_000,
            fee_base_msat: 1,
            fee_proportional_millionths: 1,
            excess_data: Vec::new(),
        };
        ChannelUpdate { signature: Signature::from_compact(&[1; 64]).unwrap(), contents }
    }

    #[test]
    fn an_update_whose_timestamp_is_a_count_is_sent_for_private_channels_only() {
        let node_id = KeysManager::new(&[1; 32], 0, 0, true).get_node_id(Recipient::Node).unwrap();
        let sent = |msg| MessageSendEvent::SendChannelUpdate { node_id, msg };
        assert!(is_counted_update(&sent(update(2, 0))));
        assert!(!is_counted_update(&sent(update(2, DONT_FORWARD))));
        assert!(!is_counted_update(&sent(update(1_800_000_000, 0))));
    }

    fn keys(seed: u8) -> (KeysManager, PublicKey) {
        let keys = KeysManager::new(&[seed; 32], 0, 0, true);
        let id = keys.get_node_id(Recipient::Node).unwrap();
        (keys, id)
    }

    #[test]
    fn the_own_update_is_known_for_a_channel_with_the_peer_that_announces_it() {
        let ((mine, own), (_, peer), (_, other)) = (keys(1), keys(2), keys(3));
        let network = bitcoin::Network::Regtest;
        let graph = Graph::new(network, Arc::new(crate::log::Log(lightning::util::logger::Level::Error)));
        let (own_id, peer_id) = (NodeId::from_pubkey(&own), NodeId::from_pubkey(&peer));
        let own_is_first = own_id < peer_id;
        let channel = UnsignedChannelAnnouncement {
            features: lightning::types::features::ChannelFeatures::empty(),
            chain_hash: bitcoin::constants::ChainHash::using_genesis_block(network),
            short_channel_id: 42,
            node_id_1: own_id.min(peer_id),
            node_id_2: own_id.max(peer_id),
            bitcoin_key_1: own_id,
            bitcoin_key_2: peer_id,
            excess_data: Vec::new(),
        };
        let no_lookup: Option<Arc<dyn lightning::routing::utxo::UtxoLookup + Send + Sync>> = None;
        graph.update_channel_from_unsigned_announcement(&channel, &no_lookup.as_deref()).unwrap();
        assert!(own_update(&graph, &channel, &own, &peer).is_none());

        let mut message = update(unix_seconds(), 0);
        message.contents.short_channel_id = 42;
        message.contents.chain_hash = channel.chain_hash;
        message.contents.channel_flags = if own_is_first { 0 } else { 1 };
        message.signature = mine.sign_gossip_message(UnsignedGossipMessage::ChannelUpdate(&message.contents)).unwrap();
        graph.update_channel(&message).unwrap();
        assert_eq!(own_update(&graph, &channel, &own, &peer), Some(message));
        assert!(own_update(&graph, &channel, &own, &other).is_none());
        assert!(own_update(&graph, &channel, &peer, &own).is_none());
    }

    #[test]
    fn an_update_for_all_is_sent_whatever_its_timestamp() {
        let id = NodeId::from_slice(&[2; 33]).unwrap();
        let event = MessageSendEvent::BroadcastChannelUpdate { msg: update(2, 0), node_id_1: id, node_id_2: id };
        assert!(!is_counted_update(&event));
    }
}
