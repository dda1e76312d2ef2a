//! Receipts of payments to this node's own offers. Anyone can pay an offer any amount, so their number is limited.

use std::collections::BTreeSet;
use std::sync::Mutex;

use lightning::types::payment::PaymentHash;
use serde_json::{json, Value};

use crate::hex;
use crate::records::{ReceiptRecord, Records};

/// The maximum number of receipts. Beyond it the one of the smallest amount is deleted, of several the oldest: many
/// small payments displace each other, and no larger one.
pub const MOST_RECEIPTS: usize = 1_000;

/// The amount in msat, the number in the order of arrival, and the payment hash of a receipt.
type Name = (u64, u64, [u8; 32]);

/// The receipts. Safe to use from several threads.
pub struct Receipts {
    records: Records,
    most: usize,
    kept: Mutex<Kept>,
}

struct Kept {
    names: BTreeSet<Name>,
    next_number: u64,
}

impl Receipts {
    /// Load the receipts, and delete those beyond the maximum.
    pub fn load(records: Records, most: usize) -> lightning::io::Result<Self> {
        let name = |hash| records.get(&hash).map(|receipt: ReceiptRecord| (receipt.amount_msat, receipt.number, hash));
        let mut names: BTreeSet<Name> = records.keys::<ReceiptRecord>().into_iter().filter_map(name).collect();
        let next_number = names.iter().map(|(_, number, _)| number + 1).max().unwrap_or(0);
        while names.len() > most {
            let Some((_, _, hash)) = names.pop_first() else { break };
            records.remove::<ReceiptRecord>(&hash)?;
        }
        Ok(Receipts { records, most, kept: Mutex::new(Kept { names, next_number }) })
    }

    /// Store the receipt of a payment, which LDK may report again. A node that forwarded it knows its preimage, and can
    /// pay the same hash again: the larger amount is kept.
    pub fn add(&self, hash: &PaymentHash, amount_msat: u64) -> lightning::io::Result<()> {
        let mut kept = self.kept.lock().unwrap();
        let Kept { names, next_number } = &mut *kept;
        let mut number = *next_number;
        if let Some(earlier) = self.records.get::<ReceiptRecord>(&hash.0) {
            if earlier.amount_msat >= amount_msat {
                return Ok(());
            }
            number = earlier.number;
            names.remove(&(earlier.amount_msat, number, hash.0));
        }
        let name = (amount_msat, number, hash.0);
        let displaced = if names.len() < self.most { None } else { names.first().copied() };
        if displaced.is_some_and(|first| first > name) {
            return Ok(());
        }
        self.records.put(&hash.0, &ReceiptRecord { amount_msat, number })?;
        names.insert(name);
        *next_number = (*next_number).max(number + 1);
        if let Some(name) = displaced {
            self.records.remove::<ReceiptRecord>(&name.2)?;
            names.remove(&name);
        }
        Ok(())
    }

    /// Return the receipts, the smallest amount first.
    pub fn list(&self) -> Value {
        let kept = self.kept.lock().unwrap();
        let receipt =
            |(amount_msat, _, hash): &Name| json!({"payment_hash": hex::text(hash), "amount_msat": amount_msat});
        json!({"receipts": kept.names.iter().map(receipt).collect::<Vec<_>>()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::sync::Arc;

    use lightning_persister::fs_store::v1::FilesystemStore;

    fn records(name: &str) -> (Records, PathBuf) {
        let folder = std::env::temp_dir().join(format!("ldkd-receipts-{name}-{}", std::process::id()));
        (Records(Arc::new(FilesystemStore::new(folder.clone()))), folder)
    }

    fn hash(number: u8) -> PaymentHash {
        PaymentHash([number; 32])
    }

    /// The first byte of each payment hash, and the amount.
    fn listed(receipts: &Receipts) -> Vec<(u8, u64)> {
        let first_byte = |text: &str| u8::from_str_radix(&text[..2], 16).unwrap();
        let read = |receipt: &Value| {
            (first_byte(receipt["payment_hash"].as_str().unwrap()), receipt["amount_msat"].as_u64().unwrap())
        };
        receipts.list()["receipts"].as_array().unwrap().iter().map(read).collect()
    }

    #[test]
    fn many_small_payments_displace_each_other_and_no_larger_one() {
        let (records, folder) = records("small");
        let receipts = Receipts::load(records.clone(), 4).unwrap();
        receipts.add(&hash(200), 5_000).unwrap();
        for number in 1..=20 {
            receipts.add(&hash(number), 1).unwrap();
        }
        receipts.add(&hash(201), 6_000).unwrap();
        let expected = [(19, 1), (20, 1), (200, 5_000), (201, 6_000)];
        assert_eq!(listed(&receipts), expected);
        assert_eq!(records.keys::<ReceiptRecord>().len(), 4);

        let again = Receipts::load(records.clone(), 4).unwrap();
        assert_eq!(listed(&again), expected);
        again.add(&hash(21), 1).unwrap();
        assert_eq!(listed(&again), [(20, 1), (21, 1), (200, 5_000), (201, 6_000)]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_payment_smaller_than_all_receipts_leaves_no_file() {
        let (records, folder) = records("smallest");
        let receipts = Receipts::load(records.clone(), 2).unwrap();
        for (number, amount_msat) in [(1, 20), (2, 10), (3, 9)] {
            receipts.add(&hash(number), amount_msat).unwrap();
        }
        assert_eq!(listed(&receipts), [(2, 10), (1, 20)]);
        assert_eq!(records.keys::<ReceiptRecord>().len(), 2);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_repeated_payment_hash_has_one_receipt_of_the_larger_amount() {
        let (records, folder) = records("again");
        let receipts = Receipts::load(records.clone(), 2).unwrap();
        for (number, amount_msat) in [(1, 7), (2, 8), (1, 7), (1, 3)] {
            receipts.add(&hash(number), amount_msat).unwrap();
        }
        assert_eq!(listed(&receipts), [(1, 7), (2, 8)]);
        receipts.add(&hash(1), 9).unwrap();
        assert_eq!(listed(&receipts), [(2, 8), (1, 9)]);
        assert_eq!(listed(&Receipts::load(records, 2).unwrap()), [(2, 8), (1, 9)]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn receipts_of_an_earlier_version_are_loaded_and_limited() {
        let (records, folder) = records("earlier");
        for number in 1..=5 {
            let text = format!("{{\"amount_msat\":{number}}}");
            let bytes = text.into_bytes();
            lightning::util::persist::KVStoreSync::write(
                &*records.0,
                "offer_receipts",
                "",
                &hex::text(&[number; 32]),
                bytes,
            )
            .unwrap();
        }
        assert_eq!(listed(&Receipts::load(records.clone(), 3).unwrap()), [(3, 3), (4, 4), (5, 5)]);
        assert_eq!(records.keys::<ReceiptRecord>().len(), 3);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
