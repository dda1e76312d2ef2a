//! Payments of BOLT 11 invoices, and their outcomes.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::OutboundHTLCDetails;
use lightning::ln::channelmanager::{PaymentId, RecentPaymentDetails};
use lightning::ln::outbound_payment::{RecipientOnionFields, Retry};
use lightning::routing::router::{Payee, PaymentParameters, RouteParameters};
use lightning::types::payment::{PaymentHash, PaymentPreimage};
use lightning_invoice::Bolt11Invoice;
use serde::Deserialize;
use serde_json::{json, Value};
use tokio::sync::Notify;

use crate::hex;
use crate::records::{PaymentRecord, Records, Status};
use crate::router::{Demands, PartsRouter, PADDING_BLOCKS};
use crate::types::Manager;

/// The limit of all numbers of blocks in an order. No expiry is this large; larger numbers would overflow sums.
const MAX_BLOCKS: u32 = 100_000;

/// An order to pay an invoice.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub invoice: String,
    /// The amount that the payee receives, also if the invoice states none.
    pub amount_msat: u64,
    pub fee_limit_msat: u64,
    /// The maximum number of blocks, from the current height, for which the whole route may lock funds.
    pub cltv_limit_blocks: u32,
    /// Added to the final hop's CLTV delta.
    #[serde(default)]
    pub slack_blocks: u32,
    pub max_parts: u8,
    #[serde(default)]
    pub max_part_msat: Option<u64>,
    /// No new attempt is started after this time.
    pub timeout_seconds: u64,
    #[serde(default)]
    pub first_hop: Option<PublicKey>,
}

/// This node's payments. Safe to use from several threads.
pub struct Payments {
    manager: Arc<Manager>,
    router: Arc<PartsRouter>,
    records: Records,
    decided: Notify,
    /// Locked while a record changes: LDK's events come from another thread.
    changing: Mutex<()>,
}

impl Payments {
    /// Load the payments. One that LDK does not know was interrupted before anything was sent: it has failed.
    pub fn load(manager: Arc<Manager>, router: Arc<PartsRouter>, records: Records) -> Self {
        let known: HashSet<PaymentId> = manager
            .list_recent_payments()
            .into_iter()
            .filter_map(|payment| match payment {
                RecentPaymentDetails::Pending { payment_id, .. }
                | RecentPaymentDetails::Fulfilled { payment_id, .. }
                | RecentPaymentDetails::Abandoned { payment_id, .. } => Some(payment_id),
                RecentPaymentDetails::AwaitingInvoice { .. } => None,
            })
            .collect();
        let payments = Payments { manager, router, records, decided: Notify::new(), changing: Mutex::default() };
        for hash in payments.records.keys::<PaymentRecord>().into_iter().map(PaymentHash) {
            let record = payments.records.get::<PaymentRecord>(&hash.0);
            let in_flight = record.is_some_and(|record| record.status == Status::InFlight);
            if in_flight && !known.contains(&PaymentId(hash.0)) {
                let _ = payments.failed(&hash, "the node was stopped before anything was sent");
            }
        }
        payments
    }

    /// Start a payment; an error states why nothing is sent. Each payment hash is paid once: later orders change
    /// nothing.
    pub fn pay(&self, order: &Order) -> Result<PaymentHash, String> {
        let invoice =
            Bolt11Invoice::from_str(&order.invoice).map_err(|error| format!("the invoice cannot be read: {error}"))?;
        let hash = invoice.payment_hash();
        if self.records.get::<PaymentRecord>(&hash.0).is_some() {
            return Ok(hash);
        }
        let params = route_parameters(&invoice, order)?;
        let mut onion = RecipientOnionFields::secret_only(*invoice.payment_secret(), order.amount_msat);
        onion.payment_metadata = invoice.payment_metadata().cloned();
        let id = PaymentId(hash.0);
        let mut record = PaymentRecord {
            status: Status::InFlight,
            amount_msat: order.amount_msat,
            fee_msat: 0,
            preimage: None,
            failure: String::new(),
            parts: Vec::new(),
        };
        self.records.put(&hash.0, &record).map_err(|error| format!("disk: {error}"))?;
        let (first_hop, max_part_msat) = (order.first_hop, order.max_part_msat);
        self.router.demand(id, Demands { first_hop, max_part_msat });
        let retry = Retry::Timeout(Duration::from_secs(order.timeout_seconds));
        if let Err(error) = self.manager.send_payment(hash, onion, id, params, retry) {
            self.failed(&hash, &format!("LDK does not send it: {error:?}"))
                .map_err(|error| format!("disk: {error}"))?;
            return Ok(hash);
        }
        // An event may have decided the payment meanwhile. The stored parts are needed only after a restart.
        let _changing = self.changing.lock().unwrap();
        record.parts = self.router.parts(&id);
        if self.status(&hash) == Some(Status::InFlight) {
            self.records.put(&hash.0, &record).map_err(|error| format!("disk: {error}"))?;
        }
        Ok(hash)
    }

    /// Return a payment's record, and what it has in flight; null if there is none.
    pub fn look_up(&self, hash: &PaymentHash) -> Value {
        let Some(record) = self.records.get::<PaymentRecord>(&hash.0) else { return Value::Null };
        let mut parts = self.router.parts(&PaymentId(hash.0));
        if parts.is_empty() {
            parts.clone_from(&record.parts);
        }
        let in_flight: Vec<OutboundHTLCDetails> = self
            .manager
            .list_channels()
            .into_iter()
            .flat_map(|channel| channel.pending_outbound_htlcs)
            .filter(|htlc| htlc.payment_hash == *hash)
            .collect();
        let brings = |htlc: &OutboundHTLCDetails| {
            let part = parts.iter().find(|(sent, _)| *sent == htlc.amount_msat);
            part.map_or(htlc.amount_msat, |(_, brought)| *brought)
        };
        json!({
            "status": record.status,
            "amount_msat": record.amount_msat,
            "fee_msat": record.fee_msat,
            "preimage": record.preimage,
            "failure": record.failure,
            "parts_in_flight": in_flight.len(),
            "in_flight_msat": in_flight.iter().map(brings).sum::<u64>(),
        })
    }

    /// Wait until a payment is decided, at most this long.
    pub async fn wait(&self, hash: &PaymentHash, time: Duration) {
        let deadline = tokio::time::Instant::now() + time;
        loop {
            let decided = self.decided.notified();
            tokio::pin!(decided);
            decided.as_mut().enable();
            if self.status(hash) != Some(Status::InFlight) || tokio::time::timeout_at(deadline, decided).await.is_err()
            {
                return;
            }
        }
    }

    /// Record that the payee has been paid, as LDK reports.
    pub fn succeeded(
        &self,
        preimage: &PaymentPreimage,
        hash: &PaymentHash,
        fee_msat: u64,
    ) -> lightning::io::Result<()> {
        let _changing = self.changing.lock().unwrap();
        if let Some(mut record) = self.records.get::<PaymentRecord>(&hash.0) {
            record.status = Status::Succeeded;
            record.preimage = Some(hex::text(&preimage.0));
            record.fee_msat = fee_msat;
            self.records.put(&hash.0, &record)?;
        }
        self.decided.notify_waiters();
        Ok(())
    }

    /// Record that a payment has failed, or that LDK did not start it.
    pub fn failed(&self, hash: &PaymentHash, why: &str) -> lightning::io::Result<()> {
        let _changing = self.changing.lock().unwrap();
        self.router.forget(&PaymentId(hash.0));
        if let Some(mut record) = self.records.get::<PaymentRecord>(&hash.0) {
            if record.status == Status::InFlight {
                record.status = Status::Failed;
                record.failure = why.to_owned();
                self.records.put(&hash.0, &record)?;
            }
        }
        self.decided.notify_waiters();
        Ok(())
    }

    fn status(&self, hash: &PaymentHash) -> Option<Status> {
        self.records.get::<PaymentRecord>(&hash.0).map(|record| record.status)
    }
}

fn route_parameters(invoice: &Bolt11Invoice, order: &Order) -> Result<RouteParameters, String> {
    if order.slack_blocks > MAX_BLOCKS || order.cltv_limit_blocks > MAX_BLOCKS {
        return Err(format!("no HTLC is locked for more than {MAX_BLOCKS} blocks"));
    }
    if invoice.amount_milli_satoshis().is_some_and(|asked| order.amount_msat < asked) {
        return Err("the invoice asks for more".into());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if invoice.would_expire(now) {
        return Err("the invoice has expired".into());
    }
    let mut params = PaymentParameters::from_bolt11_invoice(invoice)
        .with_max_total_cltv_expiry_delta(order.cltv_limit_blocks.saturating_sub(PADDING_BLOCKS + 1))
        .with_max_path_count(order.max_parts)
        .with_max_channel_saturation_power_of_half(0);
    if let Payee::Clear { final_cltv_expiry_delta, .. } = &mut params.payee {
        *final_cltv_expiry_delta = final_cltv_expiry_delta.saturating_add(order.slack_blocks);
    }
    let mut route = RouteParameters::from_payment_params_and_value(params, order.amount_msat);
    route.max_total_routing_fee_msat = Some(order.fee_limit_msat);
    Ok(route)
}
