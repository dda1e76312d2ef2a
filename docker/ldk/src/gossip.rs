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
//! The messages about this node and its channels that LDK makes, and their faults: own_gossip.rs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::*;
use lightning::routing::gossip::NodeId;
use lightning::sign::{KeysManager, NodeSigner, Recipient};
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::ser::Writeable;

use crate::custom_messages::{CustomMessage, CustomMessages};
use crate::own_gossip::{own_update, renewed, unix_seconds, DONT_FORWARD};
use crate::types::{Gossip, Graph};

const CHANNEL_ANNOUNCEMENT: u16 = 256;
const NODE_ANNOUNCEMENT: u16 = 257;
const CHANNEL_UPDATE: u16 = 258;
const REPLY_SHORT_CHANNEL_IDS_END: u16 = 262;
/// The maximum number of kept updates of unknown channels; the oldest is dropped first.
const MAX_EARLY: usize = 200;

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

    /// Send the own update of a channel to its other node `peer`, which has announced the channel.
    fn repeat_update(&self, peer: &PublicKey, channel: &UnsignedChannelAnnouncement) {
        let Ok(own) = self.keys.get_node_id(Recipient::Node) else { return };
        if let Some(update) = own_update(&self.graph, channel, &own, peer) {
            self.messages.send(*peer, raw(CHANNEL_UPDATE, &update));
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
        if let Some(peer) = peer {
            self.repeat_update(&peer, &message.contents);
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
