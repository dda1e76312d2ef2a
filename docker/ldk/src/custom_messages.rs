//! Custom messages (BOLT 1, type 32768 or above), and the connects and disconnects of peers.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::PublicKey;
use lightning::io;
use lightning::ln::msgs::{DecodeError, Init, LightningError};
use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::ln::wire::{CustomMessageReader, Type};
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::ser::{LengthLimitedRead, Writeable, Writer};
use serde_json::json;

use crate::exchange::Exchange;
use crate::hex;
use crate::wire_log::{self, Way};

/// The first message type that BOLT 1 leaves to experiments.
pub const FIRST_TYPE: u16 = 32_768;
/// The maximum number of messages that wait to be sent, over all peers.
const MAX_QUEUED: usize = 10_000;

/// A message that LDK does not know.
#[derive(Debug, PartialEq)]
pub struct CustomMessage {
    pub kind: u16,
    pub data: Vec<u8>,
}

impl CustomMessage {
    /// Log it, unless it is a reply to a gossip query (`gossip.rs`).
    fn log(&self, way: Way, peer: &PublicKey) {
        if self.kind >= FIRST_TYPE {
            wire_log::message(way, peer, &format!("custom_{}", self.kind), "");
        }
    }
}

impl Type for CustomMessage {
    fn type_id(&self) -> u16 {
        self.kind
    }
}

impl Writeable for CustomMessage {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        writer.write_all(&self.data)
    }
}

/// A handler that reports incoming messages, and sends queued ones.
pub struct CustomMessages {
    exchange: Arc<Exchange>,
    queue: Mutex<Vec<(PublicKey, CustomMessage)>>,
    connected: Mutex<HashSet<PublicKey>>,
    sent: AtomicU64,
    received: AtomicU64,
}

impl CustomMessages {
    /// Report messages to this exchange.
    pub fn new(exchange: Arc<Exchange>) -> Self {
        let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
        CustomMessages { exchange, queue: Mutex::default(), connected: Mutex::default(), sent, received }
    }

    /// The numbers of messages sent to peers and received from them in this run.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// Queue a message for a connected peer; return false if the peer is not connected or the queue is full.
    pub fn send(&self, peer: PublicKey, message: CustomMessage) -> bool {
        let mut queue = self.queue.lock().unwrap();
        let there = self.connected.lock().unwrap().contains(&peer);
        if there && queue.len() < MAX_QUEUED {
            queue.push((peer, message));
            return true;
        }
        false
    }

    /// Queue the message that ends a reply, even if the queue is full.
    pub fn send_last(&self, peer: PublicKey, message: CustomMessage) {
        self.queue.lock().unwrap().push((peer, message));
    }
}

impl CustomMessageReader for CustomMessages {
    type CustomMessage = CustomMessage;

    fn read<R: LengthLimitedRead>(&self, kind: u16, buffer: &mut R) -> Result<Option<CustomMessage>, DecodeError> {
        // An unknown even type ends the connection (BOLT 1), as it does without this handler.
        if kind < FIRST_TYPE || kind % 2 == 0 {
            return Ok(None);
        }
        let mut data = vec![0; buffer.remaining_bytes() as usize];
        io::Read::read_exact(buffer, &mut data)?;
        Ok(Some(CustomMessage { kind, data }))
    }
}

impl CustomMessageHandler for CustomMessages {
    fn handle_custom_message(&self, message: CustomMessage, peer: PublicKey) -> Result<(), LightningError> {
        self.received.fetch_add(1, Ordering::Relaxed);
        message.log(Way::Received, &peer);
        let shown = json!({
            "peer": peer.to_string(),
            "type": message.kind,
            "data": hex::text(&message.data),
        });
        self.exchange.report("custom_message", shown);
        Ok(())
    }

    fn get_and_clear_pending_msg(&self) -> Vec<(PublicKey, CustomMessage)> {
        let messages = std::mem::take(&mut *self.queue.lock().unwrap());
        self.sent.fetch_add(messages.len() as u64, Ordering::Relaxed);
        messages.iter().for_each(|(peer, message)| message.log(Way::Sent, peer));
        messages
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        wire_log::peer_gone(&peer);
        self.connected.lock().unwrap().remove(&peer);
        self.exchange.report("peer_disconnected", json!({"peer": peer.to_string()}));
    }

    fn peer_connected(&self, peer: PublicKey, _: &Init, _: bool) -> Result<(), ()> {
        self.connected.lock().unwrap().insert(peer);
        self.exchange.report("peer_connected", json!({"peer": peer.to_string()}));
        Ok(())
    }

    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }

    fn provided_init_features(&self, _: PublicKey) -> InitFeatures {
        InitFeatures::empty()
    }
}
