//! bitcoind: broadcasts transactions through its RPC, and provides blocks.

use std::sync::Arc;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{OutPoint, Transaction};
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget, FeeEstimator, TransactionType};
use lightning_block_sync::http::JsonResponse;
use lightning_block_sync::rpc::RpcClient;
use serde_json::json;
use tokio::runtime::Handle;

use crate::config::Config;
use crate::log::printable;

/// The feerate of all transactions, in satoshi per 1000 weight: regtest has no fee market.
const FEERATE: u32 = 1_000;
/// The lowest feerate accepted from a peer: the minimum that nodes relay (253 is 1 sat/vB, rounded up).
const MIN_FEERATE: u32 = 253;
/// The highest feerate accepted from a peer. LND's fallback without an estimate is 12,500.
const MAX_FEERATE: u32 = 50_000;

/// LDK's interface to bitcoind: broadcaster and fee estimator.
pub struct Bitcoind {
    /// The source of blocks; see `lightning_block_sync`.
    pub rpc: Arc<RpcClient>,
    runtime: Handle,
}

impl Bitcoind {
    /// Create a client, without sending a request. Must be called within a Tokio runtime.
    pub fn new(config: &Config) -> Self {
        use bitcoin::base64::{prelude::BASE64_STANDARD, Engine};
        let credentials = format!("{}:{}", config.bitcoind_user, config.bitcoind_password);
        let rpc =
            RpcClient::new(&BASE64_STANDARD.encode(credentials), config.bitcoind_url.trim_end_matches('/').to_owned());
        Bitcoind { rpc: Arc::new(rpc), runtime: Handle::current() }
    }

    /// Return whether a transaction in a block or in the mempool spends this output, which has existed.
    pub async fn is_spent(&self, output: OutPoint) -> Result<bool, String> {
        let parameters = [json!(output.txid.to_string()), json!(output.vout), json!(true)];
        let unspent = self.rpc.call_method::<Unspent>("gettxout", &parameters).await;
        Ok(!unspent.map_err(|error| error.to_string())?.0)
    }
}

/// The response of `gettxout`: null for an output that is spent.
struct Unspent(bool);

impl From<JsonResponse> for Unspent {
    fn from(JsonResponse(response): JsonResponse) -> Self {
        Unspent(!response.is_null())
    }
}

/// A response whose content is ignored.
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
                // Usual for a transaction that is already in a block or in the mempool.
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
