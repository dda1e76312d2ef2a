//! bitcoind: transactions are broadcast through its RPC, and blocks come from it.

use std::sync::Arc;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::Transaction;
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget, FeeEstimator, TransactionType};
use lightning_block_sync::http::JsonResponse;
use lightning_block_sync::rpc::RpcClient;
use serde_json::json;
use tokio::runtime::Handle;

use crate::config::Config;
use crate::log::printable;

/// The feerate of everything, in satoshi per 1000 weight: regtest has no market to ask.
const FEERATE: u32 = 1_000;
/// The least that a peer may ask for: what nodes relay (253 is 1 sat/vB, rounded up).
const MIN_FEERATE: u32 = 253;
/// The most that a peer may ask for: LND's fallback where there is no estimate is 12,500.
const MAX_FEERATE: u32 = 50_000;

/// What LDK asks of the chain's software.
pub struct Bitcoind {
    /// For blocks; see `lightning_block_sync`.
    pub rpc: Arc<RpcClient>,
    runtime: Handle,
}

impl Bitcoind {
    /// A client; nothing is asked yet. Must be made within a Tokio runtime.
    pub fn new(config: &Config) -> Self {
        use bitcoin::base64::{prelude::BASE64_STANDARD, Engine};
        let credentials = format!("{}:{}", config.bitcoind_user, config.bitcoind_password);
        let rpc =
            RpcClient::new(&BASE64_STANDARD.encode(credentials), config.bitcoind_url.trim_end_matches('/').to_owned());
        Bitcoind { rpc: Arc::new(rpc), runtime: Handle::current() }
    }
}

/// Any answer will do.
struct Ignored;

impl From<JsonResponse> for Ignored {
    fn from(_: JsonResponse) -> Self {
        Ignored
    }
}

impl BroadcasterInterface for Bitcoind {
    fn broadcast_transactions(&self, transactions: &[(&Transaction, TransactionType)]) {
        let raw: Vec<_> = transactions.iter().map(|(tx, _)| serialize_hex(*tx)).collect();
        let rpc = self.rpc.clone();
        self.runtime.spawn(async move {
            let result = match raw.as_slice() {
                [one] => rpc.call_method::<Ignored>("sendrawtransaction", &[json!(one)]).await,
                package => rpc.call_method("submitpackage", &[json!(package)]).await,
            };
            if let Err(error) = result {
                // Usual for a transaction that is in a block or in the mempool already.
                eprintln!("INFO broadcast: {}", printable(&error.to_string()));
            }
        });
    }
}

impl FeeEstimator for Bitcoind {
    fn get_est_sat_per_1000_weight(&self, target: ConfirmationTarget) -> u32 {
        match target {
            ConfirmationTarget::MaximumFeeEstimate => MAX_FEERATE,
            ConfirmationTarget::MinAllowedAnchorChannelRemoteFee
            | ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee
            | ConfirmationTarget::ChannelCloseMinimum => MIN_FEERATE,
            _ => FEERATE,
        }
    }
}
