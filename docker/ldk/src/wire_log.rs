//! The log of the messages to and from peers, one line each. The testbed's timeline is built from it.

use std::fmt::Display;
use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::hashes::{sha256, Hash};
use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{
    CommitmentUpdate, ErrorAction, MessageSendEvent, OnionMessage, UpdateAddHTLC, UpdateFulfillHTLC,
};
use lightning::ln::types::ChannelId;

use crate::hex;

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Sent,
    Received,
}

/// Log a message by its name in the BOLTs. `fields`: as the functions below return them, or empty.
pub fn message(way: Way, peer: &PublicKey, name: &str, fields: impl Display) {
    eprintln!("{}", message_line(now(), way, peer, name, fields));
}

/// Log that the connection with a peer has ended.
pub fn peer_gone(peer: &PublicKey) {
    eprintln!("{} DISCONNECTED {peer}", now());
}

/// Log a message of the channel manager to a peer, if it is about an HTLC or ends the channel.
pub fn sent(event: &MessageSendEvent) {
    match event {
        MessageSendEvent::UpdateHTLCs { node_id, updates, .. } => updates_sent(node_id, updates),
        MessageSendEvent::SendShutdown { node_id, .. } => message(Way::Sent, node_id, "shutdown", ""),
        MessageSendEvent::HandleError { node_id, action } => match action {
            ErrorAction::SendErrorMessage { .. } | ErrorAction::DisconnectPeer { msg: Some(_) } => {
                message(Way::Sent, node_id, "error", "")
            }
            ErrorAction::SendWarningMessage { .. } | ErrorAction::DisconnectPeerWithWarning { .. } => {
                message(Way::Sent, node_id, "warning", "")
            }
            _ => {}
        },
        _ => {}
    }
}

fn updates_sent(peer: &PublicKey, updates: &CommitmentUpdate) {
    for add in &updates.update_add_htlcs {
        message(Way::Sent, peer, "update_add_htlc", add_fields(add));
    }
    for fulfill in &updates.update_fulfill_htlcs {
        message(Way::Sent, peer, "update_fulfill_htlc", fulfill_fields(fulfill));
    }
    for fail in &updates.update_fail_htlcs {
        message(Way::Sent, peer, "update_fail_htlc", htlc_fields(&fail.channel_id, fail.htlc_id));
    }
    for fail in &updates.update_fail_malformed_htlcs {
        message(Way::Sent, peer, "update_fail_malformed_htlc", htlc_fields(&fail.channel_id, fail.htlc_id));
    }
}

/// The fields that identify an HTLC.
pub fn htlc_fields(channel_id: &ChannelId, htlc_id: u64) -> String {
    format!("channel_id={} id={htlc_id}", hex::text(&channel_id.0))
}

/// The fields of an HTLC that is added.
pub fn add_fields(add: &UpdateAddHTLC) -> String {
    let (htlc, hash) = (htlc_fields(&add.channel_id, add.htlc_id), hex::text(&add.payment_hash.0));
    format!("{htlc} amount_msat={} expiry={} payment_hash={hash}", add.amount_msat, add.cltv_expiry)
}

/// The fields of an HTLC that is settled; the payment hash is that of its preimage.
pub fn fulfill_fields(fulfill: &UpdateFulfillHTLC) -> String {
    let hash = sha256::Hash::hash(&fulfill.payment_preimage.0).to_byte_array();
    format!("{} payment_hash={}", htlc_fields(&fulfill.channel_id, fulfill.htlc_id), hex::text(&hash))
}

/// The field that identifies an onion message at both ends.
pub fn onion_fields(message: &OnionMessage) -> String {
    format!("path_key={}", message.blinding_point)
}

/// The time in Unix seconds, with milliseconds.
fn now() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

fn message_line(time: String, way: Way, peer: &PublicKey, name: &str, fields: impl Display) -> String {
    let way = match way {
        Way::Sent => "sent",
        Way::Received => "received",
    };
    format!("{time} MESSAGE {way} {peer} {name} {fields}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lightning::types::payment::PaymentPreimage;

    #[test]
    fn a_line_names_the_peer_and_the_htlc_but_not_the_preimage() {
        let secp = bitcoin::secp256k1::Secp256k1::new();
        let key = bitcoin::secp256k1::SecretKey::from_slice(&[1; 32]).unwrap();
        let peer = PublicKey::from_secret_key(&secp, &key);
        let fulfill = UpdateFulfillHTLC {
            channel_id: ChannelId([0xab; 32]),
            htlc_id: 7,
            payment_preimage: PaymentPreimage([3; 32]),
            attribution_data: None,
        };
        let line = message_line("5.001".into(), Way::Received, &peer, "update_fulfill_htlc", fulfill_fields(&fulfill));
        let hash = hex::text(&sha256::Hash::hash(&[3; 32]).to_byte_array());
        let channel = "ab".repeat(32);
        let told = format!("update_fulfill_htlc channel_id={channel} id=7 payment_hash={hash}");
        assert_eq!(line, format!("5.001 MESSAGE received {peer} {told}"));
        assert_eq!(
            message_line("5.001".into(), Way::Sent, &peer, "shutdown", ""),
            format!("5.001 MESSAGE sent {peer} shutdown")
        );
    }
}
