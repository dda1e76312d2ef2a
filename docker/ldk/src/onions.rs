//! Onion messages: each incoming one is reported to the attached process, and LDK handles it as usual.
//!
//! LDK forwards a message whose next hop is connected. This node's own messages are sent from separate, bounded queues,
//! so a peer that reads slowly costs no memory.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{BaseMessageHandler, Init, MessageSendEvent, OnionMessage, OnionMessageHandler};
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::ser::{LengthReadable, Writeable};
use serde_json::json;
use tokio::sync::Notify;

use crate::exchange::Exchange;
use crate::hex;
use crate::types::Messenger;
use crate::wire_log::{self, Way};

/// The maximum number of messages that wait to be sent to one peer.
const MAX_QUEUED: usize = 100;
/// The size of `path_key` and of the length before the packet.
const HEADER_BYTES: usize = 33 + 2;

/// LDK's messenger, which also reports incoming messages and queues outgoing ones.
pub struct Onions {
    messenger: Arc<Messenger>,
    exchange: Arc<Exchange>,
    queues: Mutex<HashMap<PublicKey, VecDeque<OnionMessage>>>,
    sent: AtomicU64,
    received: AtomicU64,
    /// Notified when LDK has handled an incoming message.
    pub handled: Notify,
}

impl Onions {
    /// Wrap this messenger, and report messages to this exchange.
    pub fn new(messenger: Arc<Messenger>, exchange: Arc<Exchange>) -> Self {
        let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
        Onions { messenger, exchange, queues: Mutex::default(), sent, received, handled: Notify::new() }
    }

    /// The numbers of messages sent to peers and received from them in this run.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// Queue a message for a connected peer; return false if the peer is not connected or its queue is full.
    pub fn send(&self, peer: PublicKey, message: OnionMessage) -> bool {
        let mut queues = self.queues.lock().unwrap();
        match queues.get_mut(&peer) {
            Some(queue) if queue.len() < MAX_QUEUED => {
                queue.push_back(message);
                true
            }
            _ => false,
        }
    }
}

/// Build a message from a path key (33 bytes) and a packet; `None` if they are not valid.
pub fn message(path_key: &[u8], packet: &[u8]) -> Option<OnionMessage> {
    let length = u16::try_from(packet.len()).ok()?;
    let bytes = [path_key, &length.to_be_bytes(), packet].concat();
    let mut reader = bytes.as_slice();
    let message = OnionMessage::read_from_fixed_length_buffer(&mut reader).ok()?;
    (message.encode() == bytes).then_some(message)
}

impl BaseMessageHandler for Onions {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        self.messenger.get_and_clear_pending_msg_events()
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        self.queues.lock().unwrap().remove(&peer);
        self.messenger.peer_disconnected(peer)
    }

    fn provided_node_features(&self) -> NodeFeatures {
        self.messenger.provided_node_features()
    }

    fn provided_init_features(&self, peer: PublicKey) -> InitFeatures {
        self.messenger.provided_init_features(peer)
    }

    fn peer_connected(&self, peer: PublicKey, message: &Init, inbound: bool) -> Result<(), ()> {
        self.queues.lock().unwrap().entry(peer).or_default();
        self.messenger.peer_connected(peer, message, inbound)
    }
}

impl OnionMessageHandler for Onions {
    fn handle_onion_message(&self, peer: PublicKey, message: &OnionMessage) {
        self.received.fetch_add(1, Ordering::Relaxed);
        wire_log::message(Way::Received, &peer, "onion_message", wire_log::onion_fields(message));
        let bytes = message.encode();
        let shown = json!({
            "peer": peer.to_string(),
            "path_key": message.blinding_point.to_string(),
            "packet": hex::text(&bytes[HEADER_BYTES..]),
        });
        self.exchange.report("onion_message", shown);
        self.messenger.handle_onion_message(peer, message);
        self.handled.notify_one();
    }

    fn next_onion_message_for_peer(&self, peer: PublicKey) -> Option<OnionMessage> {
        let queued = self.queues.lock().unwrap().get_mut(&peer).and_then(VecDeque::pop_front);
        let message = queued.or_else(|| self.messenger.next_onion_message_for_peer(peer))?;
        self.sent.fetch_add(1, Ordering::Relaxed);
        wire_log::message(Way::Sent, &peer, "onion_message", wire_log::onion_fields(&message));
        Some(message)
    }

    fn timer_tick_occurred(&self) {
        self.messenger.timer_tick_occurred()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINT: [u8; 33] = {
        let mut point = [0x02; 33];
        point[1] = 0x79; // perhaps not on the curve: point() returns a valid point
        point
    };

    fn point() -> Vec<u8> {
        let secp = bitcoin::secp256k1::Secp256k1::new();
        let key = bitcoin::secp256k1::SecretKey::from_slice(&[1; 32]).unwrap();
        PublicKey::from_secret_key(&secp, &key).serialize().to_vec()
    }

    #[test]
    fn a_packet_comes_back_as_it_was() {
        let packet = [&[0][..], &point(), &[9; 1300], &[8; 32]].concat();
        let read = message(&point(), &packet).unwrap();
        assert_eq!(read.encode()[HEADER_BYTES..], packet);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert!(message(&point(), &[0; 20]).is_none());
        assert!(message(&POINT[..32], &[0; 1400]).is_none());
        assert!(message(&point(), &vec![0; 70_000]).is_none());
    }
}
