//! Incoming HTLCs: the details that LDK's events omit, and how the HTLCs ended.
//!
//! `HTLCIntercepted` names neither the peer nor the incoming channel, and `PaymentForwarded` has no preimage. Both are
//! in the messages of peers, which are recorded here before LDK handles them. `HTLCHandlingFailed` does not identify
//! the HTLC, so the state of its channel (`list_channels`) shows whether it is failed back, also while its peer is
//! disconnected.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bitcoin::hashes::{sha256, Hash, HashEngine};
use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::{ChannelDetails, InboundHTLCStateDetails};
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::msgs::UpdateAddHTLC;
use lightning::types::payment::{PaymentHash, PaymentPreimage};

use crate::exchange::HtlcKey;

/// How long an HTLC is kept that is in no channel's list. An HTLC that a peer adds is in none until its commitment is
/// exchanged.
const SETTLING_TIME: Duration = Duration::from_secs(600);

/// An incoming HTLC on a channel with `peer`.
#[derive(Clone, Debug)]
pub struct Inbound {
    pub key: HtlcKey,
    pub peer: PublicKey,
    pub payment_hash: PaymentHash,
    pub cltv_expiry: u32,
    /// The payer asks LDK itself to hold the HTLC (bLIP draft, TLV 75537), so this daemon does not.
    pub held_by_ldk: bool,
    since: Instant,
}

#[derive(Default)]
struct State {
    inbound: HashMap<InterceptId, Inbound>,
    /// The payment hashes of all incoming HTLCs.
    hashes: HashSet<PaymentHash>,
    preimages: HashMap<PaymentHash, PaymentPreimage>,
    /// Answered HTLCs that are not known to have ended, with their peers.
    answered: HashMap<HtlcKey, PublicKey>,
}

impl State {
    fn add(&mut self, inbound: Inbound) {
        self.hashes.insert(inbound.payment_hash);
        self.inbound.insert(intercept_id(&inbound.key, &inbound.peer), inbound);
    }
}

/// All HTLCs of this run. Safe to use from several threads.
#[derive(Default)]
pub struct Htlcs(Mutex<State>);

impl Htlcs {
    /// Record the HTLCs that exist when the daemon starts.
    pub fn note_channels(&self, channels: &[ChannelDetails]) {
        let mut state = self.0.lock().unwrap();
        for channel in channels {
            for htlc in &channel.pending_inbound_htlcs {
                let inbound = Inbound {
                    key: (channel.channel_id, htlc.htlc_id),
                    peer: channel.counterparty.node_id,
                    payment_hash: htlc.payment_hash,
                    cltv_expiry: htlc.cltv_expiry,
                    held_by_ldk: false,
                    since: Instant::now(),
                };
                state.add(inbound);
            }
        }
    }

    /// Record an HTLC that a peer adds.
    pub fn note_add(&self, peer: PublicKey, message: &UpdateAddHTLC) {
        let inbound = Inbound {
            key: (message.channel_id, message.htlc_id),
            peer,
            payment_hash: message.payment_hash,
            cltv_expiry: message.cltv_expiry,
            held_by_ldk: message.hold_htlc.is_some(),
            since: Instant::now(),
        };
        self.0.lock().unwrap().add(inbound);
    }

    /// Record a preimage from a message or from the chain.
    pub fn note_preimage(&self, preimage: PaymentPreimage) {
        let hash = PaymentHash(sha256::Hash::hash(&preimage.0).to_byte_array());
        let mut state = self.0.lock().unwrap();
        // A peer may send any preimage: only those of known HTLCs are kept.
        if state.hashes.contains(&hash) {
            state.preimages.insert(hash, preimage);
        }
    }

    /// Return the HTLC with this id in LDK.
    pub fn intercepted(&self, id: &InterceptId) -> Option<Inbound> {
        self.0.lock().unwrap().inbound.get(id).cloned()
    }

    /// Record that an HTLC was forwarded or failed, as the process requested. Its end is then looked for.
    pub fn note_answered(&self, key: HtlcKey, peer: PublicKey) {
        self.0.lock().unwrap().answered.insert(key, peer);
    }

    /// Record that an answered HTLC was settled; return its preimage, if it is known.
    pub fn settled(&self, key: &HtlcKey, peer: &PublicKey) -> Option<PaymentPreimage> {
        let mut state = self.0.lock().unwrap();
        state.answered.remove(key);
        let hash = state.inbound.get(&intercept_id(key, peer))?.payment_hash;
        state.preimages.get(&hash).copied()
    }

    /// The peers on whose channels answered HTLCs came in.
    pub fn peers_of_answered(&self) -> HashSet<PublicKey> {
        self.0.lock().unwrap().answered.values().copied().collect()
    }

    /// Return the answered HTLCs that are failed back according to these channels, each once. `channels`: all with
    /// these peers.
    pub fn failed(&self, peers: &HashSet<PublicKey>, channels: &[ChannelDetails]) -> Vec<HtlcKey> {
        let pending: HashMap<HtlcKey, bool> = channels
            .iter()
            .flat_map(|channel| {
                let of_channel = channel.pending_inbound_htlcs.iter();
                of_channel.map(|htlc| {
                    let removed = InboundHTLCStateDetails::AwaitingRemoteRevokeToRemoveFail;
                    ((channel.channel_id, htlc.htlc_id), htlc.state == Some(removed))
                })
            })
            .collect();
        let open: HashSet<_> = channels.iter().map(|channel| channel.channel_id).collect();
        let mut state = self.0.lock().unwrap();
        let State { inbound, preimages, answered, .. } = &mut *state;
        let failed: Vec<_> = answered
            .iter()
            .filter(|(key, peer)| {
                let hash = inbound.get(&intercept_id(key, peer)).map(|inbound| inbound.payment_hash);
                let taken = hash.is_some_and(|hash| preimages.contains_key(&hash));
                // An HTLC that goes on chain with its channel is not failed.
                peers.contains(peer) && open.contains(&key.0) && !taken && *pending.get(key).unwrap_or(&true)
            })
            .map(|(key, _)| *key)
            .collect();
        answered.retain(|key, _| !failed.contains(key));
        failed
    }

    /// Forget HTLCs that are on none of these channels. `channels`: all channels of the node.
    pub fn forget_gone(&self, channels: &[ChannelDetails], now: Instant) {
        let there: HashSet<HtlcKey> = channels
            .iter()
            .flat_map(|channel| {
                let of_channel = channel.pending_inbound_htlcs.iter();
                of_channel.map(|htlc| (channel.channel_id, htlc.htlc_id))
            })
            .collect();
        let mut state = self.0.lock().unwrap();
        let State { inbound, hashes, preimages, answered } = &mut *state;
        inbound.retain(|_, htlc| {
            let young = now.duration_since(htlc.since) < SETTLING_TIME;
            young || there.contains(&htlc.key) || answered.contains_key(&htlc.key)
        });
        *hashes = inbound.values().map(|htlc| htlc.payment_hash).collect();
        preimages.retain(|hash, _| hashes.contains(hash));
        let keys: HashSet<_> = inbound.values().map(|htlc| htlc.key).collect();
        answered.retain(|key, _| keys.contains(key));
    }
}

/// LDK's id of an HTLC: see `InterceptId::from_incoming_parts` (channelmanager.rs).
fn intercept_id((channel_id, htlc_id): &HtlcKey, peer: &PublicKey) -> InterceptId {
    let mut engine = sha256::Hash::engine();
    engine.input(&htlc_id.to_be_bytes());
    engine.input(&channel_id.0);
    engine.input(&peer.serialize());
    InterceptId(sha256::Hash::from_engine(engine).to_byte_array())
}
