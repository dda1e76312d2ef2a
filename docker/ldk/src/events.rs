//! LDK's events. The actions for an event are complete or on disk before the event is acknowledged; otherwise LDK
//! replays it.

use std::sync::Arc;

use lightning::events::bump_transaction::sync::BumpTransactionEventHandlerSync;
use lightning::events::{Event, PaymentPurpose, ReplayEvent};
use lightning::ln::channelmanager::PaymentId;
use lightning::sign::KeysManager;
use lightning::types::payment::PaymentHash;
use lightning::util::wallet_utils::WalletSync;
use serde_json::json;
use tokio::sync::Notify;

use crate::bitcoind::Bitcoind;
use crate::exchange::{Exchange, Held, FAIL_BACK_BLOCKS};
use crate::funding::Funding;
use crate::hex;
use crate::htlcs::Htlcs;
use crate::invoices::Invoices;
use crate::log::{printable, Log};
use crate::offers::Offers;
use crate::payments::Payments;
use crate::static_invoices::StaticInvoices;
use crate::types::{Manager, Sweeper};
use crate::wallet::Wallet;

pub type Bumper =
    BumpTransactionEventHandlerSync<Arc<Bitcoind>, Arc<WalletSync<Arc<Wallet>, Arc<Log>>>, Arc<KeysManager>, Arc<Log>>;

/// The components that events concern.
pub struct Events {
    pub manager: Arc<Manager>,
    pub exchange: Arc<Exchange>,
    pub htlcs: Arc<Htlcs>,
    pub payments: Arc<Payments>,
    pub invoices: Arc<Invoices>,
    pub offers: Arc<Offers>,
    pub static_invoices: Arc<StaticInvoices>,
    /// Whether forwards wait for the attached process. If not, LDK still emits `HTLCIntercepted` after a restart, for
    /// the HTLCs that it holds itself.
    pub answers_forwards: bool,
    pub funding: Arc<Funding>,
    pub sweeper: Arc<Sweeper>,
    pub bumper: Bumper,
    /// Notified when an answered HTLC may have failed.
    pub failures: Arc<Notify>,
}

impl Events {
    /// Handle one event.
    pub fn handle(&self, event: Event) -> Result<(), ReplayEvent> {
        self.try_handle(event).map_err(|error| {
            eprintln!("ERROR an event is not done with: {error}");
            ReplayEvent()
        })
    }

    fn try_handle(&self, event: Event) -> lightning::io::Result<()> {
        match event {
            Event::HTLCIntercepted { .. } if !self.answers_forwards => {}
            Event::HTLCIntercepted {
                intercept_id,
                requested_next_hop_scid,
                payment_hash,
                inbound_amount_msat,
                expected_outbound_amount_msat,
                outgoing_htlc_expiry_block_height,
            } => {
                let Some(inbound) = self.htlcs.intercepted(&intercept_id) else {
                    eprintln!("WARN an intercepted HTLC is on no channel: {intercept_id}");
                    return Ok(());
                };
                let Some(outgoing_expiry) = outgoing_htlc_expiry_block_height else {
                    return Ok(());
                };
                if inbound.held_by_ldk {
                    return Ok(());
                }
                let fails_at = outgoing_expiry.saturating_sub(FAIL_BACK_BLOCKS);
                let (channel_id, htlc_id) = inbound.key;
                let payload = json!({
                    "channel_id": hex::text(&channel_id.0),
                    "htlc_id": htlc_id,
                    "peer": inbound.peer.to_string(),
                    "payment_hash": hex::text(&payment_hash.0),
                    "incoming_amount_msat": inbound_amount_msat,
                    "outgoing_amount_msat": expected_outbound_amount_msat,
                    "incoming_expiry": inbound.cltv_expiry,
                    "outgoing_expiry": outgoing_expiry,
                    "outgoing_channel": requested_next_hop_scid,
                    "fails_at": fails_at,
                });
                let held =
                    Held::new(intercept_id, requested_next_hop_scid, expected_outbound_amount_msat, fails_at, payload);
                self.exchange.hold(inbound.key, held);
            }
            Event::PaymentForwarded { prev_htlcs, .. } => {
                for incoming in prev_htlcs {
                    let (Some(htlc_id), Some(peer)) = (incoming.htlc_id, incoming.node_id) else {
                        continue;
                    };
                    let key = (incoming.channel_id, htlc_id);
                    let preimage = self.htlcs.settled(&key, &peer);
                    self.exchange.report(
                        "htlc_settled",
                        json!({
                            "channel_id": hex::text(&incoming.channel_id.0),
                            "htlc_id": htlc_id,
                            "preimage": preimage.map(|preimage| hex::text(&preimage.0)),
                        }),
                    );
                }
            }
            Event::HTLCHandlingFailed { .. } => self.failures.notify_one(),
            Event::PaymentClaimable { payment_hash, purpose, .. } => {
                self.claim(payment_hash, &purpose);
            }
            Event::PaymentClaimed { payment_hash, amount_msat, purpose, .. } => {
                if self.invoices.paid(&payment_hash, amount_msat)? {
                    let hash = hex::text(&payment_hash.0);
                    let payload = json!({"payment_hash": hash, "amount_msat": amount_msat});
                    self.exchange.report("invoice_paid", payload);
                }
                if matches!(purpose, PaymentPurpose::Bolt12OfferPayment { .. }) {
                    self.offers.receipts.add(&payment_hash, amount_msat)?;
                }
            }
            Event::PaymentSent { payment_id: Some(id), payment_preimage, payment_hash, fee_paid_msat, .. } => {
                let fee_msat = fee_paid_msat.unwrap_or(0);
                if is_for_invoice(&id, Some(&payment_hash)) {
                    self.payments.succeeded(&payment_preimage, &payment_hash, fee_msat)?;
                } else {
                    self.offers.succeeded(&id, &payment_preimage, &payment_hash, fee_msat)?;
                }
            }
            Event::PaymentFailed { payment_id, payment_hash, reason } => {
                let why = reason.map_or("failed".into(), |reason| format!("{reason:?}"));
                match payment_hash {
                    Some(hash) if is_for_invoice(&payment_id, Some(&hash)) => self.payments.failed(&hash, &why)?,
                    _ => self.offers.failed(&payment_id, &why)?,
                }
            }
            Event::PersistStaticInvoice {
                invoice,
                invoice_request_path,
                invoice_slot,
                recipient_id,
                invoice_persisted_path,
            } => {
                let told = invoice_persisted_path;
                self.static_invoices.persist(&recipient_id, invoice_slot, &invoice, &invoice_request_path, told)?;
            }
            Event::StaticInvoiceRequested { recipient_id, invoice_slot, reply_path, invoice_request } => {
                self.static_invoices.serve(&recipient_id, invoice_slot, invoice_request, reply_path);
            }
            // A message without a previous hop is a payer's request, which is forwarded only in case the payee is
            // online.
            Event::OnionMessageIntercepted { prev_hop: Some(from), next_hop, message } => {
                self.static_invoices.keep(&from, &next_hop, &message)?;
            }
            Event::OnionMessagePeerConnected { peer_node_id } => self.static_invoices.deliver(&peer_node_id)?,
            Event::SpendableOutputs { outputs, channel_id, .. } => {
                let tracked = self.sweeper.track_spendable_outputs(outputs, channel_id, None, false, None);
                tracked.map_err(|()| {
                    let kind = lightning::io::ErrorKind::Other;
                    lightning::io::Error::new(kind, "the sweeper's file cannot be written")
                })?;
            }
            Event::BumpTransaction(bump) => self.bumper.handle_event(&bump),
            other => self.handle_channel(other),
        }
        Ok(())
    }

    /// Events about the life of a channel.
    fn handle_channel(&self, event: Event) {
        match event {
            Event::OpenChannelRequest { temporary_channel_id, counterparty_node_id, .. } => {
                let accepted =
                    self.manager.accept_inbound_channel(&temporary_channel_id, &counterparty_node_id, 0, None);
                if let Err(error) = accepted {
                    eprintln!("WARN channel not accepted: {}", printable(&format!("{error:?}")));
                }
            }
            Event::FundingGenerationReady {
                temporary_channel_id,
                counterparty_node_id,
                channel_value_satoshis,
                output_script,
                ..
            } => self.funding.fund(temporary_channel_id, counterparty_node_id, channel_value_satoshis, output_script),
            Event::ChannelPending { former_temporary_channel_id, funding_txo, .. } => {
                if let Some(id) = former_temporary_channel_id {
                    self.funding.done(id, Ok(funding_txo));
                }
                self.exchange.report("channels_changed", json!({}));
            }
            Event::ChannelClosed { channel_id, reason, .. } => {
                let why = printable(&reason.to_string());
                eprintln!("INFO channel {channel_id} closed: {why}");
                self.funding.done(channel_id, Err(why));
                self.exchange.report("channels_changed", json!({}));
            }
            Event::ChannelReady { .. } => self.exchange.report("channels_changed", json!({})),
            _ => {}
        }
    }

    /// Claim a payment for an open invoice of this node, or for an offer; fail any other.
    ///
    /// LDK has checked that this node is the payee of the offer. The payer chooses the amount for an offer.
    fn claim(&self, hash: PaymentHash, purpose: &PaymentPurpose) {
        match purpose {
            PaymentPurpose::Bolt11InvoicePayment { payment_preimage: Some(preimage), .. }
                if self.invoices.is_open(&hash) =>
            {
                self.manager.claim_funds(*preimage);
            }
            PaymentPurpose::Bolt12OfferPayment { payment_preimage: Some(preimage), .. } => {
                self.manager.claim_funds(*preimage);
            }
            _ => self.manager.fail_htlc_backwards(&hash),
        }
    }
}

/// Return whether a payment pays a BOLT 11 invoice: its payment id is then the payment hash. The payee of an offer
/// chooses the hash of its invoice, and may choose that of another invoice, so the hash alone does not identify the
/// payment of an event.
fn is_for_invoice(id: &PaymentId, hash: Option<&PaymentHash>) -> bool {
    hash.is_some_and(|hash| hash.0 == id.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_an_offer_says_nothing_of_an_invoice_with_the_same_hash() {
        let (hash, of_offer) = (PaymentHash([7; 32]), PaymentId([8; 32]));
        assert!(is_for_invoice(&PaymentId(hash.0), Some(&hash)));
        assert!(!is_for_invoice(&of_offer, Some(&hash)));
        assert!(!is_for_invoice(&of_offer, None));
    }
}
