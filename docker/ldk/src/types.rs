//! LDK's generic types, with the parameters that this daemon uses.

use std::sync::{Arc, RwLock};

use lightning::chain::chainmonitor::ChainMonitor;
use lightning::chain::Filter;
use lightning::ln::channelmanager::ChannelManager;
use lightning::ln::peer_handler::{IgnoringMessageHandler, PeerManager};
use lightning::onion_message::messenger::OnionMessenger;
use lightning::routing::gossip::{NetworkGraph, P2PGossipSync};
use lightning::routing::router::DefaultRouter;
use lightning::routing::scoring::{ProbabilisticScorer, ProbabilisticScoringFeeParameters};
use lightning::routing::utxo::UtxoLookup;
use lightning::sign::{InMemorySigner, KeysManager};
use lightning::util::sweep::OutputSweeperSync;
use lightning_net_tokio::SocketDescriptor;
use lightning_persister::fs_store::v1::FilesystemStore;

use crate::bitcoind::Bitcoind;
use crate::channel_messages::ChannelMessages;
use crate::custom_messages::CustomMessages;
use crate::gossip::GossipQueries;
use crate::log::Log;
use crate::onion_router::OnionRouter;
use crate::onions::Onions;
use crate::router::PartsRouter;
use crate::wallet::Wallet;

pub type Graph = NetworkGraph<Arc<Log>>;
pub type Gossip = P2PGossipSync<Arc<Graph>, Arc<dyn UtxoLookup + Send + Sync>, Arc<Log>>;
pub type Scorer = ProbabilisticScorer<Arc<Graph>, Arc<Log>>;
pub type Paths = DefaultRouter<
    Arc<Graph>,
    Arc<Log>,
    Arc<KeysManager>,
    Arc<RwLock<Scorer>>,
    ProbabilisticScoringFeeParameters,
    Scorer,
>;
pub type NoFilter = Arc<dyn Filter + Send + Sync>;
pub type Monitor = ChainMonitor<
    InMemorySigner,
    NoFilter,
    Arc<Bitcoind>,
    Arc<Bitcoind>,
    Arc<Log>,
    Arc<FilesystemStore>,
    Arc<KeysManager>,
>;
pub type Manager = ChannelManager<
    Arc<Monitor>,
    Arc<Bitcoind>,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<Bitcoind>,
    Arc<PartsRouter>,
    Arc<OnionRouter>,
    Arc<Log>,
>;
pub type Messenger = OnionMessenger<
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<Log>,
    Arc<Manager>,
    Arc<OnionRouter>,
    Arc<Manager>,
    Arc<Manager>,
    IgnoringMessageHandler,
    IgnoringMessageHandler,
>;
pub type Peers = PeerManager<
    SocketDescriptor,
    Arc<ChannelMessages>,
    Arc<GossipQueries>,
    Arc<Onions>,
    Arc<Log>,
    Arc<CustomMessages>,
    Arc<KeysManager>,
    Arc<Monitor>,
>;
pub type Sweeper = OutputSweeperSync<
    Arc<Bitcoind>,
    Arc<Wallet>,
    Arc<Bitcoind>,
    NoFilter,
    Arc<FilesystemStore>,
    Arc<Log>,
    Arc<KeysManager>,
>;
