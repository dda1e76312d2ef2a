//! Onion messages for offline peers, on disk, in the order of arrival.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::io;
use lightning::ln::msgs::OnionMessage;
use lightning::util::persist::KVStoreSync;
use lightning::util::ser::{LengthReadable, Writeable};
use lightning_persister::fs_store::v1::FilesystemStore;

/// The maximum number of messages for one peer, as in ldk-node. A further one replaces the oldest of the source that
/// has the most.
const MAX_MESSAGES: usize = 30;
const NAMESPACE: &str = "onion_mailbox";

/// The messages for all peers. The caller decides for which peers messages are stored.
pub struct Mailbox(pub Arc<FilesystemStore>);

/// The name of a message: its number, which increases, and the peer that forwarded it.
type Name = (u64, String);

impl Mailbox {
    /// Store a message that one peer sent for another.
    pub fn keep(&self, from: &PublicKey, peer: &PublicKey, message: &OnionMessage) -> io::Result<()> {
        let (peer, names) = (peer.to_string(), self.names(peer));
        let next = names.last().map_or(0, |(last, _)| last + 1);
        KVStoreSync::write(&*self.0, NAMESPACE, &peer, &key(&(next, from.to_string())), message.encode())?;
        if names.len() >= MAX_MESSAGES {
            let count = |source: &String| names.iter().filter(|(_, other)| other == source).count();
            let most = names.iter().map(|(_, source)| count(source)).max();
            if let Some(oldest) = names.iter().find(|(_, source)| Some(count(source)) == most) {
                KVStoreSync::remove(&*self.0, NAMESPACE, &peer, &key(oldest), false)?;
            }
        }
        Ok(())
    }

    /// Send the stored messages of a peer, oldest first, and delete each one that is sent; stop at the first that is
    /// not.
    pub fn deliver(&self, peer: &PublicKey, mut send: impl FnMut(OnionMessage) -> bool) -> io::Result<()> {
        let (peer, names) = (peer.to_string(), self.names(peer));
        for name in names {
            let bytes = KVStoreSync::read(&*self.0, NAMESPACE, &peer, &key(&name))?;
            let message = OnionMessage::read_from_fixed_length_buffer(&mut bytes.as_slice());
            if message.is_ok_and(|message| !send(message)) {
                break;
            }
            KVStoreSync::remove(&*self.0, NAMESPACE, &peer, &key(&name), false)?;
        }
        Ok(())
    }

    /// The number of messages stored for a peer.
    pub fn count(&self, peer: &PublicKey) -> usize {
        self.names(peer).len()
    }

    fn names(&self, peer: &PublicKey) -> Vec<Name> {
        let keys = KVStoreSync::list(&*self.0, NAMESPACE, &peer.to_string()).unwrap_or_default();
        let read = |key: &String| key.split_once('_').and_then(|(n, from)| Some((n.parse().ok()?, from.to_owned())));
        let mut names: Vec<Name> = keys.iter().filter_map(read).collect();
        names.sort_unstable();
        names
    }
}

fn key((number, from): &Name) -> String {
    format!("{number}_{from}")
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

    fn mailbox(name: &str) -> (Mailbox, std::path::PathBuf) {
        let folder = std::env::temp_dir().join(format!("ldkd-mailbox-{name}-{}", std::process::id()));
        (Mailbox(Arc::new(FilesystemStore::new(folder.clone()))), folder)
    }

    #[test]
    fn messages_survive_a_restart_and_come_once_and_in_order_also_beyond_ten() {
        let (before, folder) = mailbox("restart");
        let (from, peer, other) = (point(2), point(3), point(4));
        for number in 0..MAX_MESSAGES as u8 {
            before.keep(&from, &peer, &message(number)).unwrap();
        }
        assert_eq!((before.count(&peer), before.count(&other)), (MAX_MESSAGES, 0));

        let again = Mailbox(Arc::new(FilesystemStore::new(folder.clone())));
        let all: Vec<_> = (0..MAX_MESSAGES as u8).map(message).collect();
        assert_eq!(delivered(&again, &peer, 12), all[..12]);
        assert_eq!(delivered(&again, &peer, MAX_MESSAGES), all[12..]);
        assert!(delivered(&again, &peer, MAX_MESSAGES).is_empty());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn one_source_cannot_push_out_the_messages_of_another() {
        let (mailbox, folder) = mailbox("flood");
        let (stranger, payer, peer) = (point(2), point(3), point(4));
        mailbox.keep(&payer, &peer, &message(200)).unwrap();
        for number in 0..2 * MAX_MESSAGES as u8 {
            mailbox.keep(&stranger, &peer, &message(number)).unwrap();
        }
        mailbox.keep(&payer, &peer, &message(201)).unwrap();
        let kept = delivered(&mailbox, &peer, MAX_MESSAGES);
        assert_eq!(kept.len(), MAX_MESSAGES);
        assert!(kept.contains(&message(200)) && kept.contains(&message(201)));
        assert!(kept.contains(&message(2 * MAX_MESSAGES as u8 - 1)) && !kept.contains(&message(0)));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
