//! Payments to BOLT 12 offers of often-offline payees, and payments to this node's own offers.
//!
//! The payer requests the invoice by an onion message, gets the payee's static invoice from the payee's LSP, and
//! chooses the preimage itself. LDK does the rest; this node's peer holds the HTLC
//! (`--hold-outbound-htlcs-at-next-hop`).

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lightning::ln::channel_state::{OutboundHTLCDetails, OutboundHTLCStateDetails};
use lightning::ln::channelmanager::{OptionalOfferPaymentParams, PaymentId, RecentPaymentDetails};
use lightning::ln::outbound_payment::Retry;
use lightning::offers::offer::Offer;
use lightning::routing::router::RouteParametersConfig;
use lightning::sign::{EntropySource, KeysManager};
use lightning::types::payment::{PaymentHash, PaymentPreimage};
use serde::Deserialize;
use serde_json::{json, Value};

use crate::hex;
use crate::receipts::{Receipts, MOST_RECEIPTS};
use crate::records::{OfferRecord, Records, Status};
use crate::types::Manager;

/// An order to pay an offer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferOrder {
    pub offer: String,
    pub amount_msat: u64,
    pub fee_limit_msat: u64,
    /// The maximum number of blocks, from the current height, for which the whole route may lock funds.
    pub cltv_limit_blocks: u32,
}

/// This node's payments to offers, and the payments to its own offers. Safe to use from several threads.
pub struct Offers {
    manager: Arc<Manager>,
    keys: Arc<KeysManager>,
    records: Records,
    pub receipts: Receipts,
    /// Locked while a record changes: LDK's events come from another thread.
    changing: Mutex<()>,
}

impl Offers {
    /// Load the payments. One that LDK does not know was interrupted before anything was sent: it has failed.
    /// An error if receipts beyond their maximum cannot be deleted.
    pub fn load(manager: Arc<Manager>, keys: Arc<KeysManager>, records: Records) -> lightning::io::Result<Self> {
        let receipts = Receipts::load(records.clone(), MOST_RECEIPTS)?;
        let offers = Offers { manager, keys, records, receipts, changing: Mutex::default() };
        let known = offers.known();
        for id in offers.records.keys::<OfferRecord>() {
            if !known.contains_key(&PaymentId(id)) {
                let _ = offers.failed(&PaymentId(id), "the node was stopped before anything was sent");
            }
        }
        Ok(offers)
    }

    /// Request an offer's invoice, to pay it when it arrives; an error states why nothing is sent.
    pub fn pay(&self, order: &OfferOrder) -> Result<PaymentId, String> {
        let offer = Offer::from_str(&order.offer).map_err(|error| format!("the offer cannot be read: {error:?}"))?;
        let id = PaymentId(self.keys.get_secure_random_bytes());
        let mut record = OfferRecord {
            status: Status::InFlight,
            amount_msat: order.amount_msat,
            fee_msat: 0,
            payment_hash: None,
            preimage: None,
            failure: String::new(),
        };
        self.records.put(&id.0, &record).map_err(|error| format!("disk: {error}"))?;
        let asked = OptionalOfferPaymentParams {
            payer_note: None,
            route_params_config: RouteParametersConfig {
                max_total_routing_fee_msat: Some(order.fee_limit_msat),
                max_total_cltv_expiry_delta: order.cltv_limit_blocks,
                max_path_count: 1,
                max_channel_saturation_power_of_half: 0,
            },
            retry_strategy: Retry::Timeout(Duration::from_secs(10)),
        };
        if let Err(error) = self.manager.pay_for_offer(&offer, Some(order.amount_msat), id, asked) {
            record.status = Status::Failed;
            record.failure = format!("LDK does not ask for it: {error:?}");
            self.records.put(&id.0, &record).map_err(|error| format!("disk: {error}"))?;
        }
        Ok(id)
    }

    /// Return a payment's record, and what it has in flight; null if there is none.
    pub fn look_up(&self, id: &PaymentId) -> Value {
        let Some(record) = self.records.get::<OfferRecord>(&id.0) else { return Value::Null };
        let in_flight = self.known().get(id).copied().flatten();
        let hash = record.payment_hash.clone().or(in_flight.map(|hash| hex::text(&hash.0)));
        let htlcs = in_flight.map(|hash| self.outgoing(&hash)).unwrap_or_default();
        let locked_in = |htlc: &OutboundHTLCDetails| htlc.state == Some(OutboundHTLCStateDetails::Committed);
        json!({
            "status": record.status,
            "amount_msat": record.amount_msat,
            "fee_msat": record.fee_msat,
            "payment_hash": hash,
            "preimage": record.preimage,
            "failure": record.failure,
            "parts_in_flight": htlcs.len(),
            "locked_in": !htlcs.is_empty() && htlcs.iter().all(locked_in),
        })
    }

    /// Record that the payee has been paid, as LDK reports.
    pub fn succeeded(
        &self,
        id: &PaymentId,
        preimage: &PaymentPreimage,
        hash: &PaymentHash,
        fee_msat: u64,
    ) -> lightning::io::Result<()> {
        let _changing = self.changing.lock().unwrap();
        let Some(mut record) = self.records.get::<OfferRecord>(&id.0) else { return Ok(()) };
        record.status = Status::Succeeded;
        record.payment_hash = Some(hex::text(&hash.0));
        record.preimage = Some(hex::text(&preimage.0));
        record.fee_msat = fee_msat;
        self.records.put(&id.0, &record)
    }

    /// Record that a payment has failed, or that LDK did not start it.
    pub fn failed(&self, id: &PaymentId, why: &str) -> lightning::io::Result<()> {
        let _changing = self.changing.lock().unwrap();
        let Some(mut record) = self.records.get::<OfferRecord>(&id.0) else { return Ok(()) };
        if record.status != Status::InFlight {
            return Ok(());
        }
        record.status = Status::Failed;
        record.failure = why.to_owned();
        self.records.put(&id.0, &record)
    }

    /// The payments that LDK knows, each with its payment hash if LDK has one.
    fn known(&self) -> HashMap<PaymentId, Option<PaymentHash>> {
        let recent = self.manager.list_recent_payments().into_iter();
        recent
            .map(|payment| match payment {
                RecentPaymentDetails::AwaitingInvoice { payment_id } => (payment_id, None),
                RecentPaymentDetails::Pending { payment_id, payment_hash, .. } => (payment_id, Some(payment_hash)),
                RecentPaymentDetails::Fulfilled { payment_id, payment_hash, .. } => (payment_id, payment_hash),
                RecentPaymentDetails::Abandoned { payment_id, payment_hash, .. } => (payment_id, Some(payment_hash)),
            })
            .collect()
    }

    fn outgoing(&self, hash: &PaymentHash) -> Vec<OutboundHTLCDetails> {
        let channels = self.manager.list_channels().into_iter();
        channels.flat_map(|channel| channel.pending_outbound_htlcs).filter(|htlc| htlc.payment_hash == *hash).collect()
    }
}
