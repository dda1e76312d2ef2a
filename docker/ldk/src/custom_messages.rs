//! Custom messages (BOLT 1, type 32768 or above), and the connects and disconnects of peers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bitcoin::secp256k1::PublicKey;
use lightning::io;
use lightning::ln::msgs::{DecodeError, Init, LightningError};
use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::ln::wire::{CustomMessageReader, Type};
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::ser::{LengthLimitedRead, Writeable, Writer};
use serde_json::json;

use crate::exchange::Exchange;
use crate::forwards::ANSWER_TIME;
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
    /// The connected peers (`None`), and those that disconnected less than ANSWER_TIME ago.
    peers: Mutex<HashMap<PublicKey, Option<Instant>>>,
    sent: AtomicU64,
    received: AtomicU64,
}

impl CustomMessages {
    /// Report messages to this exchange.
    pub fn new(exchange: Arc<Exchange>) -> Self {
        let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
        CustomMessages { exchange, queue: Mutex::default(), peers: Mutex::default(), sent, received }
    }

    /// The numbers of messages sent to peers and received from them in this run.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// Queue a message for a connected peer; return false if the peer is not connected or the queue is full.
    pub fn send(&self, peer: PublicKey, message: CustomMessage) -> bool {
        let mut queue = self.queue.lock().unwrap();
        let there = matches!(self.peers.lock().unwrap().get(&peer), Some(None));
        if there && queue.len() < MAX_QUEUED {
            queue.push((peer, message));
            return true;
        }
        false
    }

    /// Return whether a peer is connected, or was so when the attached process last learned of it.
    pub fn is_or_was_connected(&self, peer: &PublicKey) -> bool {
        let peers = self.peers.lock().unwrap();
        peers.get(peer).is_some_and(|left| left.is_none_or(|at| at.elapsed() < ANSWER_TIME))
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
        let mut peers = self.peers.lock().unwrap();
        peers.retain(|_, left| left.is_none_or(|at| at.elapsed() < ANSWER_TIME));
        peers.insert(peer, Some(Instant::now()));
        drop(peers);
        self.exchange.report("peer_disconnected", json!({"peer": peer.to_string()}));
    }

    fn peer_connected(&self, peer: PublicKey, _: &Init, _: bool) -> Result<(), ()> {
        self.peers.lock().unwrap().insert(peer, None);
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

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    use super::*;

    #[test]
    fn a_peer_that_has_just_disconnected_gets_no_message_but_its_htlcs_wait() {
        let peer = PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&[7; 32]).unwrap());
        let messages = CustomMessages::new(Arc::new(Exchange::new()));
        let send = || messages.send(peer, CustomMessage { kind: FIRST_TYPE + 1, data: Vec::new() });
        assert!(!send() && !messages.is_or_was_connected(&peer));
        let init = Init { features: InitFeatures::empty(), networks: None, remote_network_address: None };
        messages.peer_connected(peer, &init, true).unwrap();
        assert!(send() && messages.is_or_was_connected(&peer));
        messages.peer_disconnected(peer);
        assert!(!send() && messages.is_or_was_connected(&peer));
        messages.peers.lock().unwrap().insert(peer, Instant::now().checked_sub(ANSWER_TIME));
        assert!(!messages.is_or_was_connected(&peer));
    }
}
