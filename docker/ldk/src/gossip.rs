//! Gossip: LDK's, and answers to `query_short_channel_ids`, which LDK 0.3 does not give.
//!
//! LDK says which channels it knows (`reply_channel_range`) and then ignores the question for them ("Not implemented",
//! routing/gossip.rs). A peer that learns its graph by questions, as an LND phone does, would learn nothing.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::*;
use lightning::routing::gossip::NodeId;
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::ser::Writeable;

use crate::custom_messages::{CustomMessage, CustomMessages};
use crate::types::{Gossip, Graph};

const CHANNEL_ANNOUNCEMENT: u16 = 256;
const NODE_ANNOUNCEMENT: u16 = 257;
const CHANNEL_UPDATE: u16 = 258;
const REPLY_SHORT_CHANNEL_IDS_END: u16 = 262;

/// LDK's gossip, with the answers that it lacks.
pub struct GossipQueries {
    gossip: Arc<Gossip>,
    graph: Arc<Graph>,
    messages: Arc<CustomMessages>,
}

impl GossipQueries {
    /// Answers come from this graph; they are sent as custom messages, for LDK has no event for them.
    pub fn new(gossip: Arc<Gossip>, graph: Arc<Graph>, messages: Arc<CustomMessages>) -> Self {
        GossipQueries { gossip, graph, messages }
    }

    /// What BOLT 7 has a node send for one channel: its announcement, updates, and both nodes' announcements.
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

fn raw(kind: u16, message: &impl Writeable) -> CustomMessage {
    CustomMessage { kind, data: message.encode() }
}

impl BaseMessageHandler for GossipQueries {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        self.gossip.get_and_clear_pending_msg_events()
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
        self.gossip.handle_node_announcement(peer, message)
    }

    fn handle_channel_announcement(
        &self,
        peer: Option<PublicKey>,
        message: &ChannelAnnouncement,
    ) -> Result<bool, LightningError> {
        self.gossip.handle_channel_announcement(peer, message)
    }

    fn handle_channel_update(
        &self,
        peer: Option<PublicKey>,
        message: &ChannelUpdate,
    ) -> Result<Option<(NodeId, NodeId)>, LightningError> {
        self.gossip.handle_channel_update(peer, message)
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
