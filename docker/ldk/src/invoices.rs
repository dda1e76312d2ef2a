//! This node's BOLT 11 invoices, and the decoding of others.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lightning::ln::channelmanager::Bolt11InvoiceParameters;
use lightning::types::payment::PaymentHash;
use lightning_invoice::{
    Bolt11Invoice, Bolt11InvoiceDescription, Bolt11InvoiceDescriptionRef, Description, RawTaggedField,
};
use serde_json::{json, Value};

use crate::hex;
use crate::records::{InvoiceRecord, Records};
use crate::types::Manager;

/// BOLT 11's tag for blinded paths: `b`, as a bech32 value.
const BLINDED_PATHS: u8 = 23;

/// The node's own invoices. Safe to use from several threads.
pub struct Invoices {
    manager: Arc<Manager>,
    records: Records,
}

impl Invoices {
    /// The invoices in these records.
    pub fn new(manager: Arc<Manager>, records: Records) -> Self {
        Invoices { manager, records }
    }

    /// Create an invoice, with route hints for private channels if there are no other channels. `None`: the payer
    /// chooses the amount.
    pub fn create(&self, amount_msat: Option<u64>, description: &str, expiry_seconds: u32) -> Result<String, String> {
        let description = Description::new(description.to_owned())
            .map_err(|error| format!("the description does not fit: {error:?}"))?;
        let invoice = self
            .manager
            .create_bolt11_invoice(Bolt11InvoiceParameters {
                amount_msats: amount_msat,
                description: Bolt11InvoiceDescription::Direct(description),
                invoice_expiry_delta_secs: Some(expiry_seconds),
                ..Default::default()
            })
            .map_err(|error| format!("LDK makes no invoice: {error:?}"))?;
        let record = InvoiceRecord {
            bolt11: invoice.to_string(),
            amount_msat,
            expires_at: expires_at(&invoice),
            paid_msat: None,
        };
        self.records.put(&invoice.payment_hash().0, &record).map_err(|error| format!("disk: {error}"))?;
        Ok(record.bolt11)
    }

    /// Return an own invoice and its state; null if there is none. Whether it has expired is decided by this node's
    /// clock: the clock of the process that asks may be another one.
    pub fn look_up(&self, hash: &PaymentHash) -> Value {
        let Some(record) = self.records.get::<InvoiceRecord>(&hash.0) else { return Value::Null };
        let secret = Bolt11Invoice::from_str(&record.bolt11).map(|invoice| hex::text(&invoice.payment_secret().0)).ok();
        json!({
            "bolt11": record.bolt11,
            "amount_msat": record.amount_msat,
            "expires_at": record.expires_at,
            "expired": record.expires_at <= unix_seconds(),
            "paid_msat": record.paid_msat,
            "payment_secret": secret,
        })
    }

    /// Return whether an invoice may be paid: it is one of this node's, and not paid yet.
    pub fn is_open(&self, hash: &PaymentHash) -> bool {
        let record = self.records.get::<InvoiceRecord>(&hash.0);
        record.is_some_and(|record| record.paid_msat.is_none())
    }

    /// Record that an invoice was paid, as LDK reports; return true the first time.
    pub fn paid(&self, hash: &PaymentHash, amount_msat: u64) -> lightning::io::Result<bool> {
        let Some(mut record) = self.records.get::<InvoiceRecord>(&hash.0) else { return Ok(false) };
        if record.paid_msat.is_some() {
            return Ok(false);
        }
        record.paid_msat = Some(amount_msat);
        self.records.put(&hash.0, &record)?;
        Ok(true)
    }
}

/// Decode an invoice, and check its signature.
pub fn decode(text: &str) -> Result<Value, String> {
    let invoice = Bolt11Invoice::from_str(text).map_err(|error| format!("no invoice: {error}"))?;
    let description = match invoice.description() {
        Bolt11InvoiceDescriptionRef::Direct(description) => description.to_string(),
        Bolt11InvoiceDescriptionRef::Hash(_) => String::new(),
    };
    let hints: Vec<Vec<String>> = invoice
        .route_hints()
        .iter()
        .map(|hint| hint.0.iter().map(|hop| hop.src_node_id.to_string()).collect())
        .collect();
    let signed = invoice.clone().into_signed_raw();
    let has_blinded_paths = signed.raw_invoice().data.tagged_fields.iter().any(|field| {
        let RawTaggedField::UnknownSemantics(raw) = field else { return false };
        raw.first().is_some_and(|tag| tag.to_u8() == BLINDED_PATHS)
    });
    Ok(json!({
        "payment_hash": hex::text(&invoice.payment_hash().0),
        "payee": invoice.get_payee_pub_key().to_string(),
        "amount_msat": invoice.amount_milli_satoshis(),
        "network": invoice.network().to_string(),
        "expires_at": expires_at(&invoice),
        "min_final_cltv_expiry": invoice.min_final_cltv_expiry_delta(),
        "description": description,
        "route_hints": hints,
        "has_blinded_paths": has_blinded_paths,
        "payment_secret": hex::text(&invoice.payment_secret().0),
        "needs_metadata": invoice.features().is_some_and(|f| f.requires_payment_metadata()),
    }))
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The expiry in Unix seconds; the highest number if it overflows.
fn expires_at(invoice: &Bolt11Invoice) -> u64 {
    invoice.expires_at().map_or(u64::MAX, |at| at.as_secs())
}
