//! Peers' messages about channels. Details that LDK's events omit are recorded, and messages about HTLCs are logged; then
//! LDK handles the message.

use std::sync::Arc;

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::*;
use lightning::ln::types::ChannelId;
use lightning::types::features::{InitFeatures, NodeFeatures};

use crate::early_signatures::EarlySignatures;
use crate::htlcs::Htlcs;
use crate::own_gossip::is_counted_update;
use crate::types::Manager;
use crate::wire_log::{self, Way};

/// The channel manager, wrapped to record messages of peers before it handles them.
pub struct ChannelMessages {
    manager: Arc<Manager>,
    htlcs: Arc<Htlcs>,
    early: EarlySignatures,
}

impl ChannelMessages {
    /// Wrap this manager.
    pub fn new(manager: Arc<Manager>, htlcs: Arc<Htlcs>) -> Self {
        ChannelMessages { manager, htlcs, early: EarlySignatures::default() }
    }

    /// Return whether a channel exists and is ready; `None` if it does not exist.
    fn is_ready(&self, peer: &PublicKey, channel_id: &ChannelId) -> Option<bool> {
        let channels = self.manager.list_channels_with_counterparty(peer);
        channels.iter().find(|channel| channel.channel_id == *channel_id).map(|channel| channel.is_channel_ready)
    }
}

impl BaseMessageHandler for ChannelMessages {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        for (peer, message) in self.early.take(|peer, channel| self.is_ready(peer, channel) != Some(false)) {
            self.manager.handle_announcement_signatures(peer, &message);
        }
        let mut events = self.manager.get_and_clear_pending_msg_events();
        events.retain(|event| !is_counted_update(event));
        events.iter().for_each(wire_log::sent);
        events
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        self.early.forget(&peer);
        self.manager.peer_disconnected(peer)
    }

    fn provided_node_features(&self) -> NodeFeatures {
        self.manager.provided_node_features()
    }

    fn provided_init_features(&self, peer: PublicKey) -> InitFeatures {
        self.manager.provided_init_features(peer)
    }

    fn peer_connected(&self, peer: PublicKey, message: &Init, inbound: bool) -> Result<(), ()> {
        self.manager.peer_connected(peer, message, inbound)
    }
}

/// Define methods that only pass a message to the manager.
macro_rules! pass_on {
    ($($method:ident: $message:ty,)*) => {
        $(fn $method(&self, peer: PublicKey, message: $message) {
            self.manager.$method(peer, message)
        })*
    };
}

impl ChannelMessageHandler for ChannelMessages {
    fn handle_update_add_htlc(&self, peer: PublicKey, message: &UpdateAddHTLC) {
        wire_log::message(Way::Received, &peer, "update_add_htlc", wire_log::add_fields(message));
        self.htlcs.note_add(peer, message);
        self.manager.handle_update_add_htlc(peer, message)
    }

    fn handle_update_fulfill_htlc(&self, peer: PublicKey, message: UpdateFulfillHTLC) {
        wire_log::message(Way::Received, &peer, "update_fulfill_htlc", wire_log::fulfill_fields(&message));
        self.htlcs.note_preimage(message.payment_preimage);
        self.manager.handle_update_fulfill_htlc(peer, message)
    }

    fn handle_update_fail_htlc(&self, peer: PublicKey, message: &UpdateFailHTLC) {
        let htlc = wire_log::htlc_fields(&message.channel_id, message.htlc_id);
        wire_log::message(Way::Received, &peer, "update_fail_htlc", htlc);
        self.manager.handle_update_fail_htlc(peer, message)
    }

    fn handle_update_fail_malformed_htlc(&self, peer: PublicKey, message: &UpdateFailMalformedHTLC) {
        let htlc = wire_log::htlc_fields(&message.channel_id, message.htlc_id);
        wire_log::message(Way::Received, &peer, "update_fail_malformed_htlc", htlc);
        self.manager.handle_update_fail_malformed_htlc(peer, message)
    }

    fn handle_announcement_signatures(&self, peer: PublicKey, message: &AnnouncementSignatures) {
        if self.is_ready(&peer, &message.channel_id) == Some(false) {
            self.early.keep(peer, message);
        } else {
            self.manager.handle_announcement_signatures(peer, message)
        }
    }

    fn handle_shutdown(&self, peer: PublicKey, message: &Shutdown) {
        wire_log::message(Way::Received, &peer, "shutdown", "");
        self.manager.handle_shutdown(peer, message)
    }

    fn handle_error(&self, peer: PublicKey, message: &ErrorMessage) {
        wire_log::message(Way::Received, &peer, "error", "");
        self.manager.handle_error(peer, message)
    }

    fn handle_commitment_signed_batch(&self, peer: PublicKey, channel_id: ChannelId, batch: Vec<CommitmentSigned>) {
        self.manager.handle_commitment_signed_batch(peer, channel_id, batch)
    }

    fn get_chain_hashes(&self) -> Option<Vec<ChainHash>> {
        self.manager.get_chain_hashes()
    }

    fn message_received(&self) {
        self.manager.message_received()
    }

    pass_on! {
        handle_open_channel: &OpenChannel,
        handle_open_channel_v2: &OpenChannelV2,
        handle_accept_channel: &AcceptChannel,
        handle_accept_channel_v2: &AcceptChannelV2,
        handle_funding_created: &FundingCreated,
        handle_funding_signed: &FundingSigned,
        handle_channel_ready: &ChannelReady,
        handle_peer_storage: PeerStorage,
        handle_peer_storage_retrieval: PeerStorageRetrieval,
        handle_closing_signed: &ClosingSigned,
        handle_stfu: &Stfu,
        handle_splice_init: &SpliceInit,
        handle_splice_ack: &SpliceAck,
        handle_splice_locked: &SpliceLocked,
        handle_tx_add_input: &TxAddInput,
        handle_tx_add_output: &TxAddOutput,
        handle_tx_remove_input: &TxRemoveInput,
        handle_tx_remove_output: &TxRemoveOutput,
        handle_tx_complete: &TxComplete,
        handle_tx_signatures: &TxSignatures,
        handle_tx_init_rbf: &TxInitRbf,
        handle_tx_ack_rbf: &TxAckRbf,
        handle_tx_abort: &TxAbort,
        handle_commitment_signed: &CommitmentSigned,
        handle_revoke_and_ack: &RevokeAndACK,
        handle_update_fee: &UpdateFee,
        handle_channel_reestablish: &ChannelReestablish,
        handle_channel_update: &ChannelUpdate,
    }
}
