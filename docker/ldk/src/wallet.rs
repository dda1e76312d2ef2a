//! The on-chain wallet: P2WPKH outputs of keys derived from the seed, found by following the blocks.
//!
//! LDK selects the coins (`WalletSync`); the wallet lists them, provides scripts for change, and signs. A coin that is
//! spent by a transaction that is not in a block (yet, or any more) is not selected again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bitcoin::bip32::{ChildNumber, Xpriv};
use bitcoin::key::{CompressedPublicKey, Secp256k1};
use bitcoin::secp256k1::{All, Message};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{Address, Block, Network, OutPoint, PrivateKey, Psbt, ScriptBuf, Transaction, TxOut, Witness};
use lightning::chain::transaction::TransactionData;
use lightning::chain::{BlockLocator, Listen};
use lightning::sign::ChangeDestinationSourceSync;
use lightning::util::persist::KVStoreSync;
use lightning::util::wallet_utils::{Utxo, WalletSourceSync};
use lightning_persister::fs_store::v1::FilesystemStore;
use serde::{Deserialize, Serialize};

/// The number of recognised addresses beyond the last one that was given out.
const LOOK_AHEAD: u32 = 20;
/// Spent coins are forgotten at this depth: LDK does not follow longer reorganisations either.
const FORGET_BLOCKS: u32 = 100;
const NAMESPACE: &str = "wallet";
const KEY: &str = "state";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Coin {
    outpoint: OutPoint,
    output: TxOut,
    height: u32,
    /// The transaction that created it, which some signers require.
    transaction: Transaction,
    /// The height at which it was spent; `Some(None)` while the spending transaction is in no block.
    spent: Option<Option<u32>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    addresses: u32,
    coins: Vec<Coin>,
}

/// The node's coins. Safe to use from several threads.
pub struct Wallet {
    secp: Secp256k1<All>,
    master: Xpriv,
    network: Network,
    store: Arc<FilesystemStore>,
    state: Mutex<State>,
    scripts: Mutex<HashMap<ScriptBuf, u32>>,
}

impl Wallet {
    /// Load the wallet of a seed in its last stored state; an error if the file cannot be read.
    pub fn load(seed: &[u8; 32], network: Network, store: Arc<FilesystemStore>) -> Result<Self, String> {
        let state = match KVStoreSync::read(&*store, NAMESPACE, "", KEY) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| format!("the wallet's file cannot be read: {error}"))?
            }
            Err(error) if error.kind() == lightning::io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(format!("the wallet's file cannot be read: {error}")),
        };
        let secp = Secp256k1::new();
        let wallet_key = ChildNumber::from_hardened_idx(0x6c646b).expect("below 2^31");
        let master = Xpriv::new_master(network, seed)
            .and_then(|root| root.derive_priv(&secp, &wallet_key))
            .map_err(|error| format!("the seed gives no wallet: {error}"))?;
        let wallet = Wallet { secp, master, network, store, state: Mutex::new(state), scripts: Mutex::default() };
        wallet.watch();
        Ok(wallet)
    }

    /// Return a fresh address.
    pub fn new_address(&self) -> Address {
        let index = {
            let mut state = self.state.lock().unwrap();
            state.addresses += 1;
            self.save(&state);
            state.addresses - 1
        };
        self.watch();
        Address::p2wpkh(&self.public_key(index), self.network)
    }

    /// The confirmed and unspent amount, in satoshi.
    pub fn confirmed_sat(&self) -> u64 {
        let state = self.state.lock().unwrap();
        let unspent = state.coins.iter().filter(|coin| coin.spent.is_none());
        unspent.map(|coin| coin.output.value.to_sat()).sum()
    }

    /// Record a transaction that is about to be broadcast: its inputs are not selected again.
    pub fn note_spent(&self, transaction: &Transaction) {
        let mut state = self.state.lock().unwrap();
        spend(&mut state, transaction, None);
        self.save(&state);
    }

    fn key(&self, index: u32) -> PrivateKey {
        let child = ChildNumber::from_normal_idx(index).expect("below 2^31");
        let derived = self.master.derive_priv(&self.secp, &child);
        derived.expect("as good as impossible").to_priv()
    }

    fn public_key(&self, index: u32) -> CompressedPublicKey {
        CompressedPublicKey::from_private_key(&self.secp, &self.key(index)).expect("compressed")
    }

    /// Recognise the addresses that were given out, and LOOK_AHEAD more.
    fn watch(&self) {
        let end = self.state.lock().unwrap().addresses + LOOK_AHEAD;
        let mut scripts = self.scripts.lock().unwrap();
        for index in scripts.len() as u32..end {
            let script = Address::p2wpkh(&self.public_key(index), self.network).script_pubkey();
            scripts.insert(script, index);
        }
    }

    fn save(&self, state: &State) {
        let bytes = serde_json::to_vec(state).expect("plain data");
        KVStoreSync::write(&*self.store, NAMESPACE, "", KEY, bytes).expect("disk for the wallet");
    }

    fn connect<'a>(&self, transactions: impl Iterator<Item = &'a Transaction>, height: u32) {
        let mut state = self.state.lock().unwrap();
        let mut changed = false;
        for transaction in transactions {
            changed |= spend(&mut state, transaction, Some(height));
            changed |= self.receive(&mut state, transaction, height);
        }
        if changed {
            let kept = |coin: &Coin| !matches!(coin.spent, Some(Some(at)) if at + FORGET_BLOCKS < height);
            state.coins.retain(kept);
            self.save(&state);
        }
    }

    fn receive(&self, state: &mut State, transaction: &Transaction, height: u32) -> bool {
        let scripts = self.scripts.lock().unwrap();
        let mut found = false;
        for (vout, output) in transaction.output.iter().enumerate() {
            if scripts.contains_key(&output.script_pubkey) {
                found = true;
                let outpoint = OutPoint::new(transaction.compute_txid(), vout as u32);
                // After a restart, blocks may be connected again.
                if let Some(known) = state.coins.iter_mut().find(|coin| coin.outpoint == outpoint) {
                    known.height = height;
                    continue;
                }
                state.coins.push(Coin {
                    outpoint,
                    output: output.clone(),
                    height,
                    transaction: transaction.clone(),
                    spent: None,
                });
            }
        }
        found
    }
}

/// Mark the inputs as spent at a height, or at none (`None`); return true if one of them was the wallet's.
fn spend(state: &mut State, transaction: &Transaction, height: Option<u32>) -> bool {
    let mut found = false;
    for input in &transaction.input {
        let mut coins = state.coins.iter_mut();
        if let Some(coin) = coins.find(|coin| coin.outpoint == input.previous_output) {
            coin.spent = Some(height);
            found = true;
        }
    }
    found
}

impl Listen for Wallet {
    fn filtered_block_connected(&self, _: &bitcoin::block::Header, transactions: &TransactionData, height: u32) {
        self.connect(transactions.iter().map(|(_, transaction)| *transaction), height);
    }

    fn block_connected(&self, block: &Block, height: u32) {
        self.connect(block.txdata.iter(), height);
    }

    fn blocks_disconnected(&self, fork_point: BlockLocator) {
        let mut state = self.state.lock().unwrap();
        state.coins.retain(|coin| coin.height <= fork_point.height);
        for coin in &mut state.coins {
            if matches!(coin.spent, Some(Some(at)) if at > fork_point.height) {
                coin.spent = Some(None);
            }
        }
        self.save(&state);
    }
}

impl WalletSourceSync for Wallet {
    fn list_confirmed_utxos(&self) -> Result<Vec<Utxo>, ()> {
        let state = self.state.lock().unwrap();
        let unspent = state.coins.iter().filter(|coin| coin.spent.is_none());
        unspent
            .map(|coin| {
                let script = &coin.output.script_pubkey;
                let index = *self.scripts.lock().unwrap().get(script).ok_or(())?;
                let hash = self.public_key(index).wpubkey_hash();
                Ok(Utxo::new_v0_p2wpkh(coin.outpoint, coin.output.value, &hash))
            })
            .collect()
    }

    fn get_prevtx(&self, outpoint: OutPoint) -> Result<Transaction, ()> {
        let state = self.state.lock().unwrap();
        let coin = state.coins.iter().find(|coin| coin.outpoint == outpoint);
        coin.map(|coin| coin.transaction.clone()).ok_or(())
    }

    fn get_change_script(&self) -> Result<ScriptBuf, ()> {
        Ok(self.new_address().script_pubkey())
    }

    fn sign_psbt(&self, psbt: Psbt) -> Result<Transaction, ()> {
        let mut transaction = psbt.unsigned_tx.clone();
        for (number, input) in psbt.inputs.iter().enumerate() {
            let Some(output) = &input.witness_utxo else { continue };
            let index = self.scripts.lock().unwrap().get(&output.script_pubkey).copied();
            let Some(index) = index else { continue };
            let sighash = SighashCache::new(&psbt.unsigned_tx)
                .p2wpkh_signature_hash(number, &output.script_pubkey, output.value, EcdsaSighashType::All)
                .map_err(|_| ())?;
            let key = self.key(index);
            let signature = bitcoin::ecdsa::Signature {
                signature: self.secp.sign_ecdsa(&Message::from(sighash), &key.inner),
                sighash_type: EcdsaSighashType::All,
            };
            let public_key = self.public_key(index);
            transaction.input[number].witness = Witness::p2wpkh(&signature, &public_key.0);
        }
        Ok(transaction)
    }
}

impl ChangeDestinationSourceSync for Wallet {
    fn get_change_destination_script(&self) -> Result<ScriptBuf, ()> {
        self.get_change_script()
    }
}
