//! The answers to held HTLCs: each is forwarded or failed.
//!
//! The process that answers sees the peers a moment later than this daemon. If the next peer disconnects in that moment,
//! the HTLC waits for it for some seconds: LDK would fail it, and phones lose their connections all the time.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use lightning::blinded_path::NodeIdLookUp;
use lightning::ln::channel_state::ChannelDetails;
use tokio::sync::Notify;

use crate::custom_messages::CustomMessages;
use crate::exchange::{Held, HtlcKey};
use crate::htlcs::Htlcs;
use crate::types::{Manager, Peers};

/// How long after a disconnect an answer may be older than it.
pub const ANSWER_TIME: Duration = Duration::from_millis(250);
/// How long an HTLC waits for its next peer.
const RETURN_TIME: Duration = Duration::from_secs(10);

/// The HTLCs that are answered. Safe to use from several threads.
pub struct Forwards {
    pub manager: Arc<Manager>,
    pub peers: Arc<Peers>,
    pub messages: Arc<CustomMessages>,
    pub htlcs: Arc<Htlcs>,
    /// Notified when an answered HTLC may have failed.
    pub failures: Arc<Notify>,
    /// The HTLCs that wait for their next peer, since when.
    pub waiting: Mutex<Vec<(HtlcKey, Held, Instant)>>,
}

impl Forwards {
    /// Forward a held HTLC over the channel that the onion names; fail it if there is no such channel (any more).
    pub fn resume(&self, key: HtlcKey, held: Held) {
        let next = self.next_channel(&held);
        if next.is_some_and(|(peer, channel)| !channel.is_usable && self.messages.is_or_was_connected(&peer)) {
            self.waiting.lock().unwrap().push((key, held, Instant::now()));
        } else {
            self.forward(&key, &held);
        }
    }

    /// Forward the HTLCs whose peers are back, and fail those that have waited too long.
    pub fn tick(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        for (key, held, since) in waiting {
            if since.elapsed() >= RETURN_TIME || self.next_channel(&held).is_none_or(|(_, channel)| channel.is_usable) {
                self.forward(&key, &held);
            } else {
                self.waiting.lock().unwrap().push((key, held, since));
            }
        }
    }

    /// Fail a held HTLC. LDK's error is unknown_next_peer; it offers no other.
    pub fn fail(&self, key: &HtlcKey, held: &Held) {
        self.note_answered(key, held);
        // An error means that LDK itself has already failed it.
        let _ = self.manager.fail_intercepted_htlc(held.intercept_id);
        self.failures.notify_one();
    }

    fn forward(&self, key: &HtlcKey, held: &Held) {
        let forwarded = self.next_channel(held).is_some_and(|(peer, channel)| {
            self.note_answered(key, held);
            let (id, msat) = (held.intercept_id, held.outgoing_msat);
            self.manager.forward_intercepted_htlc(id, &channel.channel_id, peer, msat).is_ok()
        });
        if forwarded {
            // LDK's background processor would wait for a random time. LDK fails the HTLC if the peer, often a phone
            // that has just connected, disconnects in that time; an HTLC that is on its channel survives that.
            self.manager.process_pending_htlc_forwards();
            self.peers.process_events();
        } else {
            self.fail(key, held);
        }
    }

    fn next_channel(&self, held: &Held) -> Option<(PublicKey, ChannelDetails)> {
        let peer = self.manager.next_node_id(held.next_scid)?;
        let channels = self.manager.list_channels_with_counterparty(&peer);
        let next = channels.into_iter().find(|channel| {
            let mut all = channel.short_channel_id.iter().chain(&channel.outbound_scid_alias);
            all.any(|scid| *scid == held.next_scid)
        });
        next.map(|channel| (peer, channel))
    }

    fn note_answered(&self, key: &HtlcKey, held: &Held) {
        if let Some(inbound) = self.htlcs.intercepted(&held.intercept_id) {
            self.htlcs.note_answered(*key, inbound.peer);
        }
    }
}
