//! The running node: its components, and its periodic tasks.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lightning::events::bump_transaction::sync::BumpTransactionEventHandlerSync;
use lightning::events::EventsProvider;
use lightning::ln::peer_handler::{IgnoringMessageHandler, MessageHandler};
use lightning::sign::{EntropySource, KeysManager};
use lightning::util::wallet_utils::WalletSync;
use lightning_background_processor::{process_events_async_with_kv_store_sync, GossipSync, NO_LIQUIDITY_MANAGER};
use tokio::sync::{watch, Notify};

use crate::bitcoind::Bitcoind;
use crate::chain::{self, Followers};
use crate::channel_messages::ChannelMessages;
use crate::config::Config;
use crate::connections::Connections;
use crate::custom_messages::CustomMessages;
use crate::events::Events;
use crate::exchange::Exchange;
use crate::forwards::Forwards;
use crate::funding::Funding;
use crate::gossip::GossipQueries;
use crate::hex;
use crate::htlcs::Htlcs;
use crate::invoices::Invoices;
use crate::log::Log;
use crate::network_graph;
use crate::offers::Offers;
use crate::onions::Onions;
use crate::payments::Payments;
use crate::records::Records;
use crate::setup;
use crate::static_invoices::StaticInvoices;
use crate::types::{Gossip, Graph, Manager, Messenger, Peers, Scorer};
use crate::wallet::Wallet;

/// The interval of `Exchange::tick` and `Forwards::tick`.
const TICK_TIME: Duration = Duration::from_millis(250);
/// The interval and the number of checks of the channels after LDK has reported that an HTLC failed.
const FAILURE_LOOK_TIME: Duration = Duration::from_millis(50);
const FAILURE_LOOKS: u32 = 60;
/// The interval of node announcements, and of the checks whether one is needed.
const ANNOUNCE_TIME: Duration = Duration::from_secs(60);
const ANNOUNCE_LOOK_TIME: Duration = Duration::from_secs(1);

/// The node. Safe to use from several threads.
pub struct Node {
    pub config: Config,
    pub log: Arc<Log>,
    pub keys: Arc<KeysManager>,
    pub bitcoind: Arc<Bitcoind>,
    pub wallet: Arc<Wallet>,
    pub graph: Arc<Graph>,
    pub scorer: Arc<RwLock<Scorer>>,
    pub manager: Arc<Manager>,
    pub peers: Arc<Peers>,
    pub connections: Arc<Connections>,
    pub onions: Arc<Onions>,
    pub messages: Arc<CustomMessages>,
    pub exchange: Arc<Exchange>,
    pub htlcs: Arc<Htlcs>,
    pub forwards: Forwards,
    pub payments: Arc<Payments>,
    pub invoices: Arc<Invoices>,
    pub offers: Arc<Offers>,
    pub static_invoices: Arc<StaticInvoices>,
    pub funding: Arc<Funding>,
    pub synced: watch::Receiver<bool>,
    failures: Arc<Notify>,
}

impl Node {
    /// Start everything but the socket. `stop` changes when the node is to stop; the second result is a task that ends
    /// then.
    pub async fn start(
        config: Config,
        stop: watch::Receiver<()>,
    ) -> Result<(Arc<Node>, tokio::task::JoinHandle<()>), String> {
        let mut parts = setup::load(&config).await?;
        let exchange = Arc::new(Exchange::new());
        let htlcs = Arc::new(Htlcs::default());
        htlcs.note_channels(&parts.manager.list_channels());
        let (synced_sender, synced) = watch::channel(false);
        let followers = Followers {
            wallet: parts.wallet.clone(),
            monitor: parts.monitor.clone(),
            manager: parts.manager.clone(),
            sweeper: parts.sweeper.clone(),
            htlcs: htlcs.clone(),
            exchange: exchange.clone(),
        };
        chain::follow(&mut parts, followers, config.network, synced_sender).await?;

        let messages = Arc::new(CustomMessages::new(exchange.clone()));
        let gossip = Arc::new(Gossip::new(parts.graph.clone(), None, parts.log.clone()));
        let messenger = Arc::new(Messenger::new_with_offline_peer_interception(
            parts.keys.clone(),
            parts.keys.clone(),
            parts.log.clone(),
            parts.manager.clone(),
            parts.message_router.clone(),
            parts.manager.clone(),
            parts.manager.clone(),
            IgnoringMessageHandler {},
            IgnoringMessageHandler {},
            false,
        ));
        let onions = Arc::new(Onions::new(messenger.clone(), exchange.clone()));
        let queries = GossipQueries::new(gossip.clone(), parts.graph.clone(), messages.clone(), parts.keys.clone());
        let handler = MessageHandler {
            chan_handler: Arc::new(ChannelMessages::new(parts.manager.clone(), htlcs.clone())),
            route_handler: Arc::new(queries),
            onion_message_handler: onions.clone(),
            custom_message_handler: messages.clone(),
            send_only_message_handler: parts.monitor.clone(),
        };
        let peers = Arc::new(Peers::new(
            handler,
            unix_time().as_secs() as u32,
            &parts.keys.get_secure_random_bytes(),
            parts.log.clone(),
            parts.keys.clone(),
        ));

        let records = Records(parts.store.clone());
        let payments = Payments::load(parts.manager.clone(), parts.router.clone(), records.clone());
        let coins = Arc::new(WalletSync::new(parts.wallet.clone(), parts.log.clone()));
        let funding = Arc::new(Funding::new(parts.manager.clone(), parts.wallet.clone(), coins.clone()));
        let payments = Arc::new(payments);
        let offers = Offers::load(parts.manager.clone(), parts.keys.clone(), records.clone())
            .map_err(|error| format!("cannot delete receipts beyond their maximum: {error}"))?;
        let offers = Arc::new(offers);
        let invoices = Arc::new(Invoices::new(parts.manager.clone(), records));
        let static_invoices = Arc::new(StaticInvoices::new(
            config.enable_htlc_hold,
            parts.manager.clone(),
            messenger.clone(),
            parts.store.clone(),
        ));
        let failures = Arc::new(Notify::new());
        let events = Arc::new(Events {
            manager: parts.manager.clone(),
            exchange: exchange.clone(),
            htlcs: htlcs.clone(),
            payments: payments.clone(),
            invoices: invoices.clone(),
            offers: offers.clone(),
            static_invoices: static_invoices.clone(),
            answers_forwards: config.hold_forwards,
            funding: funding.clone(),
            sweeper: parts.sweeper.clone(),
            bumper: BumpTransactionEventHandlerSync::new(
                parts.bitcoind.clone(),
                coins,
                parts.keys.clone(),
                parts.log.clone(),
            ),
            failures: failures.clone(),
        });
        let forwards = Forwards {
            manager: parts.manager.clone(),
            peers: peers.clone(),
            messages: messages.clone(),
            htlcs: htlcs.clone(),
            failures: failures.clone(),
            waiting: Mutex::default(),
        };
        let connections = Connections::load(peers.clone(), parts.manager.clone(), parts.store.clone());
        let node = Arc::new(Node {
            config,
            log: parts.log.clone(),
            keys: parts.keys.clone(),
            bitcoind: parts.bitcoind.clone(),
            wallet: parts.wallet.clone(),
            graph: parts.graph.clone(),
            scorer: parts.scorer.clone(),
            manager: parts.manager.clone(),
            peers: peers.clone(),
            connections: Arc::new(connections),
            onions,
            messages,
            exchange,
            htlcs,
            forwards,
            payments,
            invoices,
            offers,
            static_invoices,
            funding,
            synced,
            failures,
        });

        let sleep = move |time: Duration| {
            let mut stop = stop.clone();
            Box::pin(async move {
                tokio::select! {
                    () = tokio::time::sleep(time) => false,
                    _ = stop.changed() => true,
                }
            })
        };
        if node.config.enable_htlc_hold {
            tokio::spawn(handle_requests(node.clone(), events.clone()));
        }
        let store = parts.store.clone();
        let background = tokio::spawn(async move {
            let handle = |event| {
                let handled = events.handle(event);
                async move { handled }
            };
            let ended = process_events_async_with_kv_store_sync(
                parts.store.clone(),
                handle,
                parts.monitor.clone(),
                parts.manager.clone(),
                Some(messenger),
                GossipSync::none(),
                peers,
                NO_LIQUIDITY_MANAGER,
                Some(parts.sweeper.clone()),
                parts.log.clone(),
                Some(parts.scorer.clone()),
                sleep,
                false,
                || Some(unix_time()),
            );
            if let Err(error) = ended.await {
                // Without its disk the node must stop: it would lose the state that its peers rely on.
                eprintln!("ERROR the disk takes no more: {error}");
                std::process::exit(1);
            }
            network_graph::save(&parts.graph, &parts.store);
        });
        if let Some(address) = &node.config.listen {
            node.connections.listen(address).await?;
        }
        if node.config.redial {
            tokio::spawn(node.connections.clone().keep());
        }
        tokio::spawn(network_graph::keep(node.graph.clone(), store));
        tokio::spawn(tick(node.clone()));
        tokio::spawn(find_failures(node.clone()));
        tokio::spawn(announce(node.clone()));
        Ok((node, background))
    }

    /// Announce the node if all its public channels are announced: before that, its peers would not forward the
    /// announcement. Return the number of those channels.
    pub fn announce(&self) -> Option<usize> {
        let public: Vec<_> = self.manager.list_channels().into_iter().filter(|c| c.is_announced).collect();
        let announced = {
            let graph = self.graph.read_only();
            let known = |scid: &u64| graph.channels().get(scid).is_some_and(|c| c.announcement_message.is_some());
            public.iter().all(|channel| channel.short_channel_id.as_ref().is_some_and(known))
        };
        if !announced || public.is_empty() {
            return None;
        }
        let mut alias = [0; 32];
        let name = self.config.alias.as_bytes();
        let length = name.len().min(alias.len());
        alias[..length].copy_from_slice(&name[..length]);
        self.peers.broadcast_node_announcement([0; 3], alias, Vec::new());
        self.peers.process_events();
        Some(public.len())
    }
}

pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

async fn tick(node: Arc<Node>) {
    loop {
        tokio::time::sleep(TICK_TIME).await;
        node.forwards.tick();
        for held in node.exchange.tick(Instant::now()) {
            let _ = node.manager.fail_intercepted_htlc(held.intercept_id);
        }
        // Messages that cannot be read from the disk now are delivered later.
        let _ = node.static_invoices.deliver_more(|peer| node.peers.peer_by_node_id(peer).is_some());
    }
}

/// Handle LDK's events about static invoices when they arise. Their onion messages do not wake LDK's background
/// processor, which otherwise looks for events every ten seconds (FASTEST_TIMER in its lib.rs).
async fn handle_requests(node: Arc<Node>, events: Arc<Events>) {
    let handle = |event| events.handle(event);
    loop {
        node.onions.handled.notified().await;
        node.manager.process_pending_events(&handle);
        node.peers.process_events();
    }
}

/// Announce the node after a channel was announced, and periodically.
async fn announce(node: Arc<Node>) {
    let (mut told, mut at) = (0, Instant::now());
    loop {
        tokio::time::sleep(ANNOUNCE_LOOK_TIME).await;
        let public = node.manager.list_channels().iter().filter(|channel| channel.is_announced).count();
        if public != told || at.elapsed() >= ANNOUNCE_TIME {
            if let Some(announced) = node.announce() {
                (told, at) = (announced, Instant::now());
            }
        }
    }
}

/// Report answered HTLCs that are failed back. LDK reports a failure before it fails the HTLC, so the channels are
/// checked several times.
async fn find_failures(node: Arc<Node>) {
    loop {
        node.failures.notified().await;
        for _ in 0..FAILURE_LOOKS {
            let peers = node.htlcs.peers_of_answered();
            if peers.is_empty() {
                break;
            }
            report_failures(&node, &peers);
            tokio::time::sleep(FAILURE_LOOK_TIME).await;
        }
    }
}

fn report_failures(node: &Node, peers: &HashSet<bitcoin::secp256k1::PublicKey>) {
    let channels: Vec<_> = peers.iter().flat_map(|peer| node.manager.list_channels_with_counterparty(peer)).collect();
    for (channel_id, htlc_id) in node.htlcs.failed(peers, &channels) {
        let payload = serde_json::json!({"channel_id": hex::text(&channel_id.0), "htlc_id": htlc_id});
        node.exchange.report("htlc_failed", payload);
    }
}
