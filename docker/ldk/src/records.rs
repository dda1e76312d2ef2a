//! Records of this node's payments and invoices, kept permanently: LDK forgets both.
//!
//! Each record is a small file, named by the payment hash (payments to offers: by LDK's payment id). It is written
//! before LDK is called, and before an event of LDK is acknowledged.

use std::sync::Arc;

use lightning::util::persist::KVStoreSync;
use lightning_persister::fs_store::v1::FilesystemStore;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::hex;
use crate::router::Part;

/// The state of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    InFlight,
    Succeeded,
    Failed,
}

/// A payment of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRecord {
    pub status: Status,
    pub amount_msat: u64,
    pub fee_msat: u64,
    /// Hex; set once the payment has succeeded.
    pub preimage: Option<String>,
    /// Why it failed, as text for the user.
    pub failure: String,
    /// The parts that were sent: see `router::Part`.
    pub parts: Vec<Part>,
}

/// An invoice of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceRecord {
    pub bolt11: String,
    pub amount_msat: Option<u64>,
    /// Unix seconds.
    pub expires_at: u64,
    /// The amount received; set once it is paid.
    pub paid_msat: Option<u64>,
}

/// A payment of this node to an offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferRecord {
    pub status: Status,
    pub amount_msat: u64,
    pub fee_msat: u64,
    /// Hex; set once the payment has succeeded, like `preimage`.
    pub payment_hash: Option<String>,
    pub preimage: Option<String>,
    /// Why it failed, as text for the user.
    pub failure: String,
}

/// A payment to an offer of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptRecord {
    pub amount_msat: u64,
    /// In the order of arrival. Receipts of earlier versions have none.
    #[serde(default)]
    pub number: u64,
}

/// A kind of record.
pub trait Record: Serialize + DeserializeOwned {
    /// The folder of this kind.
    const NAMESPACE: &'static str;
}

impl Record for PaymentRecord {
    const NAMESPACE: &'static str = "payments";
}

impl Record for InvoiceRecord {
    const NAMESPACE: &'static str = "invoices";
}

impl Record for OfferRecord {
    const NAMESPACE: &'static str = "offer_payments";
}

impl Record for ReceiptRecord {
    const NAMESPACE: &'static str = "offer_receipts";
}

/// The files of records. Safe to use from several threads.
#[derive(Clone)]
pub struct Records(pub Arc<FilesystemStore>);

impl Records {
    /// Return the record of this hash or id; `None` if there is none.
    pub fn get<R: Record>(&self, key: &[u8; 32]) -> Option<R> {
        let bytes = KVStoreSync::read(&*self.0, R::NAMESPACE, "", &hex::text(key)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Store a record; an error if it cannot be written to disk.
    pub fn put<R: Record>(&self, key: &[u8; 32], record: &R) -> lightning::io::Result<()> {
        let bytes = serde_json::to_vec(record).expect("plain data");
        KVStoreSync::write(&*self.0, R::NAMESPACE, "", &hex::text(key), bytes)
    }

    /// Delete a record; an error if it cannot be deleted from disk. None is deleted if there is none.
    pub fn remove<R: Record>(&self, key: &[u8; 32]) -> lightning::io::Result<()> {
        KVStoreSync::remove(&*self.0, R::NAMESPACE, "", &hex::text(key), false)
    }

    /// Return the hashes or ids of all records of a kind.
    pub fn keys<R: Record>(&self) -> Vec<[u8; 32]> {
        let keys = KVStoreSync::list(&*self.0, R::NAMESPACE, "").unwrap_or_default();
        keys.iter().filter_map(|key| hex::array(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_a_restart() {
        let folder = std::env::temp_dir().join(format!("ldkd-records-{}", std::process::id()));
        let hash = [5; 32];
        let record = InvoiceRecord { bolt11: "lnbcrt1".into(), amount_msat: Some(7), expires_at: 9, paid_msat: None };
        Records(Arc::new(FilesystemStore::new(folder.clone()))).put(&hash, &record).unwrap();
        let again = Records(Arc::new(FilesystemStore::new(folder.clone())));
        assert_eq!(again.get::<InvoiceRecord>(&hash), Some(record));
        assert_eq!(again.keys::<InvoiceRecord>(), [hash]);
        assert!(again.get::<PaymentRecord>(&hash).is_none());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
