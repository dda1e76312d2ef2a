//! announcement_signatures that arrive before the channel is ready.
//!
//! LDK ignores them ("Got an announcement_signatures before we were ready for it", channelmanager.rs), and can then
//! announce the channel only after a reconnection. Core Lightning's may overtake its channel_ready: lightningd sends
//! the signatures itself (channel_gossip.c), while channeld sends channel_ready. So they are kept until the channel is
//! ready.

use std::collections::HashMap;
use std::sync::Mutex;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::AnnouncementSignatures;
use lightning::ln::types::ChannelId;

/// The kept messages: one for each channel, at most.
#[derive(Default)]
pub struct EarlySignatures(Mutex<HashMap<(PublicKey, ChannelId), AnnouncementSignatures>>);

impl EarlySignatures {
    /// Keep a message of this peer. Only for a channel that exists: a peer cannot have any number of these.
    pub fn keep(&self, peer: PublicKey, message: &AnnouncementSignatures) {
        self.0.lock().unwrap().insert((peer, message.channel_id), message.clone());
    }

    /// Return the messages of the channels that are ready, and keep them no longer.
    pub fn take(&self, ready: impl Fn(&PublicKey, &ChannelId) -> bool) -> Vec<(PublicKey, AnnouncementSignatures)> {
        let mut kept = self.0.lock().unwrap();
        let keys: Vec<_> = kept.keys().filter(|(peer, channel)| ready(peer, channel)).copied().collect();
        keys.into_iter().filter_map(|key| kept.remove(&key).map(|message| (key.0, message))).collect()
    }

    /// Forget the messages of a peer that is disconnected: it sends them again after channel_reestablish (BOLT 7).
    pub fn forget(&self, peer: &PublicKey) {
        self.0.lock().unwrap().retain(|(from, _), _| from != peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::secp256k1::ecdsa::Signature;
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    fn peer(number: u8) -> PublicKey {
        PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&[number; 32]).unwrap())
    }

    fn signatures(channel: u8) -> AnnouncementSignatures {
        let signature = Signature::from_compact(&[1; 64]).unwrap();
        AnnouncementSignatures {
            channel_id: ChannelId([channel; 32]),
            short_channel_id: 1,
            node_signature: signature,
            bitcoin_signature: signature,
        }
    }

    #[test]
    fn a_message_is_returned_once_when_its_channel_is_ready() {
        let early = EarlySignatures::default();
        early.keep(peer(1), &signatures(1));
        early.keep(peer(1), &signatures(2));
        assert!(early.take(|_, _| false).is_empty());
        let ready = |_: &PublicKey, channel: &ChannelId| *channel == ChannelId([1; 32]);
        assert_eq!(early.take(ready), vec![(peer(1), signatures(1))]);
        assert!(early.take(ready).is_empty());
        assert_eq!(early.take(|_, _| true), vec![(peer(1), signatures(2))]);
    }

    #[test]
    fn the_messages_of_a_disconnected_peer_are_forgotten() {
        let early = EarlySignatures::default();
        early.keep(peer(1), &signatures(1));
        early.keep(peer(2), &signatures(2));
        early.forget(&peer(1));
        assert_eq!(early.take(|_, _| true), vec![(peer(2), signatures(2))]);
    }
}
