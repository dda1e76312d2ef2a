//! Gossip: LDK's handler, and the functions that LDK 0.3 lacks.
//!
//! LDK lists the channels that it knows (`reply_channel_range`), and then ignores the query for them ("Not
//! implemented", routing/gossip.rs). A peer that learns its graph by queries, as an LND phone does, would learn
//! nothing.
//!
//! When a channel between two LDK nodes is announced, each sends its channel_update directly after its
//! announcement_signatures. If both messages arrive in one read, LDK handles the update before it has made the
//! announcement, does not know the channel, and drops the update. The update is not repeated (peer_handler.rs does not
//! send the announcement to the channel peer). So updates of unknown channels are kept for a while.
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

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::*;
use lightning::routing::gossip::NodeId;
use lightning::sign::{KeysManager, NodeSigner};
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::ser::Writeable;

use crate::custom_messages::{CustomMessage, CustomMessages};
use crate::types::{Gossip, Graph};

const CHANNEL_ANNOUNCEMENT: u16 = 256;
const NODE_ANNOUNCEMENT: u16 = 257;
const CHANNEL_UPDATE: u16 = 258;
const REPLY_SHORT_CHANNEL_IDS_END: u16 = 262;
/// The maximum number of kept updates of unknown channels; the oldest is dropped first.
const MAX_EARLY: usize = 200;
/// No update is older than Bitcoin: a lower timestamp (Unix seconds) is a counter value.
const GENESIS: u32 = 1_231_006_505;
/// The bit in message_flags of a channel_update for the channel peer alone (BOLT 7).
const DONT_FORWARD: u8 = 2;

/// LDK's gossip handler, extended by the missing replies.
pub struct GossipQueries {
    gossip: Arc<Gossip>,
    graph: Arc<Graph>,
    messages: Arc<CustomMessages>,
    keys: Arc<KeysManager>,
    /// The timestamp of the last own announcement that was reissued here.
    renewed_at: Mutex<u32>,
    early: Mutex<VecDeque<ChannelUpdate>>,
    /// Updates whose channel has become known, and reissued own announcements.
    ready: Mutex<Vec<MessageSendEvent>>,
}

impl GossipQueries {
    /// Reply from this graph. Replies are sent as custom messages, because LDK has no event for them.
    pub fn new(gossip: Arc<Gossip>, graph: Arc<Graph>, messages: Arc<CustomMessages>, keys: Arc<KeysManager>) -> Self {
        GossipQueries {
            gossip,
            graph,
            messages,
            keys,
            renewed_at: Mutex::default(),
            early: Mutex::default(),
            ready: Mutex::default(),
        }
    }

    /// The reply for one channel (BOLT 7): its announcement, its updates, and the announcements of both nodes.
    fn about(&self, short_channel_id: u64) -> Vec<CustomMessage> {
        let graph = self.graph.read_only();
        let Some(channel) = graph.channels().get(&short_channel_id) else { return Vec::new() };
        let Some(announcement) = &channel.announcement_message else { return Vec::new() };
        let mut messages = vec![raw(CHANNEL_ANNOUNCEMENT, announcement)];
        for direction in [&channel.one_to_two, &channel.two_to_one].into_iter().flatten() {
            messages.extend(direction.last_update_message.as_ref().map(|update| raw(CHANNEL_UPDATE, update)));
        }
        for node in [&channel.node_one, &channel.node_two] {
            let announced = graph.nodes().get(node).and_then(|node| node.announcement_info.as_ref());
            let message = announced.and_then(|announced| announced.announcement_message());
            messages.extend(message.map(|message| raw(NODE_ANNOUNCEMENT, message)));
        }
        messages
    }
}

impl GossipQueries {
    /// Keep an update that LDK rejected, if the reason may be that its channel is unknown.
    fn refused(&self, update: &ChannelUpdate) {
        let private = update.contents.message_flags & DONT_FORWARD != 0;
        if private || self.graph.read_only().channels().contains_key(&update.contents.short_channel_id) {
            return;
        }
        let mut early = self.early.lock().unwrap();
        if early.len() >= MAX_EARLY {
            early.pop_front();
        }
        early.push_back(update.clone());
    }

    /// Queue a newer announcement if this own one is older than `now` (Unix seconds). The newer one is passed to this
    /// function too.
    fn renew(&self, message: &NodeAnnouncement, now: u32) {
        let mut renewed_at = self.renewed_at.lock().unwrap();
        if message.contents.timestamp == *renewed_at {
            return;
        }
        if let Some(newer) = renewed(message, now, &*self.keys) {
            *renewed_at = now;
            self.ready.lock().unwrap().push(MessageSendEvent::BroadcastNodeAnnouncement { msg: newer });
        }
    }

    /// Queue the kept updates of a channel that is now known: LDK handles them again, and broadcasts them if they are
    /// valid.
    fn announced(&self, channel: &UnsignedChannelAnnouncement) {
        let mut early = self.early.lock().unwrap();
        let mut ready = self.ready.lock().unwrap();
        early.retain(|update| {
            let of_this = update.contents.short_channel_id == channel.short_channel_id;
            if of_this {
                let (node_id_1, node_id_2) = (channel.node_id_1, channel.node_id_2);
                ready.push(MessageSendEvent::BroadcastChannelUpdate { msg: update.clone(), node_id_1, node_id_2 });
            }
            !of_this
        });
    }
}

/// Return the same announcement with timestamp `now` (Unix seconds), if it is older than that.
fn renewed(message: &NodeAnnouncement, now: u32, keys: &impl NodeSigner) -> Option<NodeAnnouncement> {
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

fn unix_seconds() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as u32)
}

fn raw(kind: u16, message: &impl Writeable) -> CustomMessage {
    CustomMessage { kind, data: message.encode() }
}

impl BaseMessageHandler for GossipQueries {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        let mut events = self.gossip.get_and_clear_pending_msg_events();
        events.append(&mut self.ready.lock().unwrap());
        events
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        self.gossip.peer_disconnected(peer)
    }

    fn provided_node_features(&self) -> NodeFeatures {
        self.gossip.provided_node_features()
    }

    fn provided_init_features(&self, peer: PublicKey) -> InitFeatures {
        self.gossip.provided_init_features(peer)
    }

    fn peer_connected(&self, peer: PublicKey, message: &Init, inbound: bool) -> Result<(), ()> {
        self.gossip.peer_connected(peer, message, inbound)
    }
}

impl RoutingMessageHandler for GossipQueries {
    fn handle_query_short_channel_ids(
        &self,
        peer: PublicKey,
        query: QueryShortChannelIds,
    ) -> Result<(), LightningError> {
        let mut complete = true;
        for short_channel_id in query.short_channel_ids {
            for message in self.about(short_channel_id) {
                complete &= self.messages.send(peer, message);
            }
        }
        let full_information = complete;
        let end = ReplyShortChannelIdsEnd { chain_hash: query.chain_hash, full_information };
        self.messages.send_last(peer, raw(REPLY_SHORT_CHANNEL_IDS_END, &end));
        Ok(())
    }

    fn handle_node_announcement(
        &self,
        peer: Option<PublicKey>,
        message: &NodeAnnouncement,
    ) -> Result<bool, LightningError> {
        if peer.is_none() {
            self.renew(message, unix_seconds());
        }
        self.gossip.handle_node_announcement(peer, message)
    }

    fn handle_channel_announcement(
        &self,
        peer: Option<PublicKey>,
        message: &ChannelAnnouncement,
    ) -> Result<bool, LightningError> {
        let handled = self.gossip.handle_channel_announcement(peer, message);
        if handled.is_ok() {
            self.announced(&message.contents);
        }
        handled
    }

    fn handle_channel_update(
        &self,
        peer: Option<PublicKey>,
        message: &ChannelUpdate,
    ) -> Result<Option<(NodeId, NodeId)>, LightningError> {
        let handled = self.gossip.handle_channel_update(peer, message);
        if peer.is_some() && handled.is_err() {
            self.refused(message);
        }
        handled
    }

    fn get_next_channel_announcement(
        &self,
        starting_point: u64,
    ) -> Option<(ChannelAnnouncement, Option<ChannelUpdate>, Option<ChannelUpdate>)> {
        self.gossip.get_next_channel_announcement(starting_point)
    }

    fn get_next_node_announcement(&self, starting_point: Option<&NodeId>) -> Option<NodeAnnouncement> {
        self.gossip.get_next_node_announcement(starting_point)
    }

    fn handle_reply_channel_range(&self, peer: PublicKey, message: ReplyChannelRange) -> Result<(), LightningError> {
        self.gossip.handle_reply_channel_range(peer, message)
    }

    fn handle_reply_short_channel_ids_end(
        &self,
        peer: PublicKey,
        message: ReplyShortChannelIdsEnd,
    ) -> Result<(), LightningError> {
        self.gossip.handle_reply_short_channel_ids_end(peer, message)
    }

    fn handle_query_channel_range(&self, peer: PublicKey, message: QueryChannelRange) -> Result<(), LightningError> {
        self.gossip.handle_query_channel_range(peer, message)
    }

    fn processing_queue_high(&self) -> bool {
        self.gossip.processing_queue_high()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::secp256k1::ecdsa::Signature;
    use bitcoin::secp256k1::Secp256k1;
    use lightning::routing::gossip::NodeAlias;
    use lightning::sign::Recipient;

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

    #[test]
    fn an_update_for_all_is_sent_whatever_its_timestamp() {
        let id = NodeId::from_slice(&[2; 33]).unwrap();
        let event = MessageSendEvent::BroadcastChannelUpdate { msg: update(2, 0), node_id_1: id, node_id_2: id };
        assert!(!is_counted_update(&event));
    }
}
