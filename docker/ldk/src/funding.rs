//! Channels that this node opens, and funds from its wallet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bitcoin::absolute::LockTime;
use bitcoin::secp256k1::PublicKey;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, Psbt, ScriptBuf, Transaction, TxIn, TxOut};
use lightning::ln::types::ChannelId;
use lightning::util::wallet_utils::{CoinSelectionSourceSync, WalletSourceSync, WalletSync};
use tokio::sync::oneshot;

use crate::log::Log;
use crate::types::Manager;
use crate::wallet::Wallet;

/// The feerate of funding transactions, in satoshi per 1000 weight.
const FEERATE: u32 = 1_000;
const MAX_WEIGHT: u64 = 400_000;

type Outcome = Result<OutPoint, String>;

/// Channels that are being opened. Safe to use from several threads.
pub struct Funding {
    manager: Arc<Manager>,
    wallet: Arc<Wallet>,
    coins: Arc<WalletSync<Arc<Wallet>, Arc<Log>>>,
    waiting: Mutex<HashMap<ChannelId, oneshot::Sender<Outcome>>>,
}

impl Funding {
    /// Fund channels from this wallet.
    pub fn new(manager: Arc<Manager>, wallet: Arc<Wallet>, coins: Arc<WalletSync<Arc<Wallet>, Arc<Log>>>) -> Self {
        Funding { manager, wallet, coins, waiting: Mutex::default() }
    }

    /// Open a channel; return its funding output once the transaction is broadcast.
    pub async fn open(&self, peer: PublicKey, capacity_sat: u64, push_msat: u64, private: bool) -> Outcome {
        let mut config = self.manager.get_current_config();
        config.channel_handshake_config.announce_for_forwarding = !private;
        let (sender, outcome) = oneshot::channel();
        {
            // Keep the lock until the id is stored: the event that requests the transaction may come early.
            let mut waiting = self.waiting.lock().unwrap();
            let id = self
                .manager
                .create_channel(peer, capacity_sat, push_msat, 0, None, Some(config))
                .map_err(|error| format!("LDK opens no channel: {error:?}"))?;
            waiting.insert(id, sender);
        }
        outcome.await.unwrap_or_else(|_| Err("the node was stopped".into()))
    }

    /// Create the funding transaction that LDK requests for a channel.
    pub fn fund(&self, id: ChannelId, peer: PublicKey, value_sat: u64, script: ScriptBuf) {
        let output = TxOut { value: Amount::from_sat(value_sat), script_pubkey: script };
        let funded = self.transaction(output).and_then(|transaction| {
            self.wallet.note_spent(&transaction);
            self.manager
                .funding_transaction_generated(id, peer, transaction)
                .map_err(|error| format!("LDK does not take the funding transaction: {error:?}"))
        });
        if let Err(why) = funded {
            let _ = self.manager.force_close_broadcasting_latest_txn(&id, &peer, why.clone());
            self.done(id, Err(why));
        }
    }

    /// Pass the outcome to `open`: the channel is pending, or could not be opened.
    pub fn done(&self, id: ChannelId, outcome: Outcome) {
        if let Some(sender) = self.waiting.lock().unwrap().remove(&id) {
            let _ = sender.send(outcome);
        }
    }

    fn transaction(&self, output: TxOut) -> Result<Transaction, String> {
        let outputs = [output];
        let selected =
            self.coins.select_confirmed_utxos(None, Vec::new(), &outputs, FEERATE, MAX_WEIGHT).map_err(|()| {
                let has = self.wallet.confirmed_sat();
                format!("the wallet's {has} sat of confirmed coins do not suffice")
            })?;
        let inputs = selected.confirmed_utxos.iter().map(|coin| TxIn {
            previous_output: coin.outpoint(),
            sequence: coin.sequence(),
            ..Default::default()
        });
        let [output] = outputs;
        let unsigned = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: inputs.collect(),
            output: [output].into_iter().chain(selected.change_output).collect(),
        };
        let mut psbt = Psbt::from_unsigned_tx(unsigned).map_err(|error| error.to_string())?;
        for (input, coin) in psbt.inputs.iter_mut().zip(&selected.confirmed_utxos) {
            input.witness_utxo = Some(coin.output().clone());
        }
        self.wallet.sign_psbt(psbt).map_err(|()| "the wallet does not sign".into())
    }
}
