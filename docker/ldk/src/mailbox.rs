//! Onion messages for peers that are away, on disk, in the order in which they came.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::io;
use lightning::ln::msgs::OnionMessage;
use lightning::util::persist::KVStoreSync;
use lightning::util::ser::{LengthReadable, Writeable};
use lightning_persister::fs_store::v1::FilesystemStore;

/// Messages that wait for one peer, as in ldk-node. What comes beyond is dropped.
const MAX_MESSAGES: usize = 30;
const NAMESPACE: &str = "onion_mailbox";

/// The messages of all peers. Whom to keep any for is its user's to say.
pub struct Mailbox(pub Arc<FilesystemStore>);

impl Mailbox {
    /// Keep a message, if there is room for one more of this peer.
    pub fn keep(&self, peer: &PublicKey, message: &OnionMessage) -> io::Result<()> {
        let numbers = self.numbers(peer);
        if numbers.len() >= MAX_MESSAGES {
            return Ok(());
        }
        let next = numbers.last().map_or(0, |last| last + 1);
        KVStoreSync::write(&*self.0, NAMESPACE, &peer.to_string(), &next.to_string(), message.encode())
    }

    /// Hand out what is kept for a peer, oldest first, and forget each that is sent; end with the first that is not.
    pub fn deliver(&self, peer: &PublicKey, mut send: impl FnMut(OnionMessage) -> bool) -> io::Result<()> {
        let name = peer.to_string();
        for number in self.numbers(peer) {
            let bytes = KVStoreSync::read(&*self.0, NAMESPACE, &name, &number.to_string())?;
            let message = OnionMessage::read_from_fixed_length_buffer(&mut bytes.as_slice());
            if message.is_ok_and(|message| !send(message)) {
                break;
            }
            KVStoreSync::remove(&*self.0, NAMESPACE, &name, &number.to_string(), false)?;
        }
        Ok(())
    }

    /// How many messages wait for a peer.
    pub fn count(&self, peer: &PublicKey) -> usize {
        self.numbers(peer).len()
    }

    fn numbers(&self, peer: &PublicKey) -> Vec<u64> {
        let keys = KVStoreSync::list(&*self.0, NAMESPACE, &peer.to_string()).unwrap_or_default();
        let mut numbers: Vec<u64> = keys.iter().filter_map(|key| key.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    fn point(number: u8) -> PublicKey {
        PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&[number; 32]).unwrap())
    }

    fn message(number: u8) -> OnionMessage {
        let packet = [&[0][..], &point(1).serialize(), &[number; 1300], &[8; 32]].concat();
        crate::onions::message(&point(2).serialize(), &packet).unwrap()
    }

    fn delivered(mailbox: &Mailbox, peer: &PublicKey, at_most: usize) -> Vec<OnionMessage> {
        let mut sent = Vec::new();
        let send = |message| {
            let room = sent.len() < at_most;
            if room {
                sent.push(message);
            }
            room
        };
        mailbox.deliver(peer, send).unwrap();
        sent
    }

    #[test]
    fn messages_survive_a_restart_and_come_once_and_in_order_also_beyond_ten() {
        let folder = std::env::temp_dir().join(format!("ldkd-mailbox-{}", std::process::id()));
        let mailbox = Mailbox(Arc::new(FilesystemStore::new(folder.clone())));
        let (peer, other) = (point(3), point(4));
        for number in 0..=MAX_MESSAGES as u8 {
            mailbox.keep(&peer, &message(number)).unwrap();
        }
        assert_eq!((mailbox.count(&peer), mailbox.count(&other)), (MAX_MESSAGES, 0));

        let again = Mailbox(Arc::new(FilesystemStore::new(folder.clone())));
        let all: Vec<_> = (0..MAX_MESSAGES as u8).map(message).collect();
        assert_eq!(delivered(&again, &peer, 12), all[..12]);
        assert_eq!(delivered(&again, &peer, MAX_MESSAGES), all[12..]);
        assert!(delivered(&again, &peer, MAX_MESSAGES).is_empty());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
