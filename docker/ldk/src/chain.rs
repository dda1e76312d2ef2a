//! The chain: all listeners are synced to the tip once, and then kept in sync.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use lightning::chain::transaction::TransactionData;
use lightning::chain::{BlockLocator, Listen};
use lightning::types::payment::PaymentPreimage;
use lightning_block_sync::init::synchronize_listeners;
use lightning_block_sync::poll::ChainPoller;
use lightning_block_sync::SpvClient;
use tokio::sync::watch;

use crate::exchange::Exchange;
use crate::htlcs::Htlcs;
use crate::setup::Parts;
use crate::types::{Manager, Monitor, Sweeper};
use crate::wallet::Wallet;

/// The interval at which bitcoind's tip is polled.
const POLL_TIME: Duration = Duration::from_millis(500);
/// The length of a preimage, also in a witness.
const PREIMAGE_BYTES: usize = 32;

/// All listeners of the chain. The wallet gets a block before the manager does, so a block that the manager has on disk
/// is in the wallet too.
pub struct Followers {
    pub wallet: Arc<Wallet>,
    pub monitor: Arc<Monitor>,
    pub manager: Arc<Manager>,
    pub sweeper: Arc<Sweeper>,
    pub htlcs: Arc<Htlcs>,
    pub exchange: Arc<Exchange>,
}

impl Followers {
    fn told(&self, height: u32) {
        self.exchange.block(height);
        self.htlcs.forget_gone(&self.manager.list_channels(), std::time::Instant::now());
    }
}

impl Listen for Followers {
    fn filtered_block_connected(&self, header: &bitcoin::block::Header, transactions: &TransactionData, height: u32) {
        // The witness of an on-chain claim contains the HTLC's preimage; LDK's event does not.
        for (_, transaction) in transactions {
            for item in transaction.input.iter().flat_map(|input| input.witness.iter()) {
                if let Ok(preimage) = <[u8; PREIMAGE_BYTES]>::try_from(item) {
                    self.htlcs.note_preimage(PaymentPreimage(preimage));
                }
            }
        }
        self.wallet.filtered_block_connected(header, transactions, height);
        self.monitor.filtered_block_connected(header, transactions, height);
        self.manager.filtered_block_connected(header, transactions, height);
        self.sweeper.filtered_block_connected(header, transactions, height);
        self.told(height);
    }

    fn blocks_disconnected(&self, fork_point: BlockLocator) {
        self.wallet.blocks_disconnected(fork_point);
        self.monitor.blocks_disconnected(fork_point);
        self.manager.blocks_disconnected(fork_point);
        self.sweeper.blocks_disconnected(fork_point);
        self.told(fork_point.height);
    }
}

/// Sync the loaded objects to the tip, have the channels watched, and follow the chain from then on in a separate task.
/// Return once the tip is reached; an error is a sentence for the user.
pub async fn follow(
    parts: &mut Parts,
    followers: Followers,
    network: Network,
    synced: watch::Sender<bool>,
) -> Result<(), String> {
    let rpc = parts.bitcoind.rpc.clone();
    let listening: Vec<_> = std::mem::take(&mut parts.channel_monitors)
        .into_iter()
        .map(|(block, monitor)| {
            let (broadcaster, fees) = (parts.bitcoind.clone(), parts.bitcoind.clone());
            (block, (monitor, broadcaster, fees, parts.log.clone()))
        })
        .collect();
    let mut listeners: Vec<(BlockLocator, &dyn Listen)> = vec![
        (parts.manager_block, &*parts.wallet),
        (parts.manager_block, &*parts.manager),
        (parts.sweeper_block, &*parts.sweeper),
    ];
    listeners.extend(listening.iter().map(|(block, listener)| (*block, listener as &dyn Listen)));
    let (headers, tip) = synchronize_listeners(rpc.clone(), network, listeners)
        .await
        .map_err(|error| format!("the chain cannot be followed: {:?}", error.into_inner()))?;
    for (_, (monitor, ..)) in listening {
        let channel_id = monitor.channel_id();
        parts
            .monitor
            .load_existing_monitor(channel_id, monitor)
            .map_err(|()| format!("channel {channel_id} is there twice"))?;
    }
    let _ = synced.send(true);
    tokio::spawn(async move {
        let poller = ChainPoller::new(rpc, network);
        let mut client = SpvClient::new(tip, poller, headers, &followers);
        loop {
            let polled = client.poll_best_tip().await;
            if let Err(error) = &polled {
                eprintln!("WARN bitcoind: {:?}", error);
            }
            let _ = synced.send(polled.is_ok());
            tokio::time::sleep(POLL_TIME).await;
        }
    });
    Ok(())
}
