//! LDK's objects, loaded from disk, and the settings of the node.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use lightning::chain::chainmonitor::ChainMonitor;
use lightning::chain::channelmonitor::ChannelMonitor;
use lightning::chain::BlockLocator;
use lightning::io::Cursor;
use lightning::ln::channelmanager::{ChainParameters, ChannelManagerReadArgs};
use lightning::routing::gossip::NetworkGraph;
use lightning::routing::router::DefaultRouter;
use lightning::routing::scoring::{
    ProbabilisticScorer, ProbabilisticScoringDecayParameters, ProbabilisticScoringFeeParameters,
};
use lightning::sign::{InMemorySigner, KeysManager, NodeSigner};
use lightning::util::config::{HTLCInterceptionFlags, UserConfig};
use lightning::util::persist::{
    read_channel_monitors, KVStoreSync, CHANNEL_MANAGER_PERSISTENCE_KEY, NETWORK_GRAPH_PERSISTENCE_KEY,
    OUTPUT_SWEEPER_PERSISTENCE_KEY, SCORER_PERSISTENCE_KEY,
};
use lightning::util::ser::ReadableArgs;
use lightning_block_sync::init::validate_best_block_header;
use lightning_persister::fs_store::v1::FilesystemStore;

use crate::bitcoind::Bitcoind;
use crate::config::Config;
use crate::log::Log;
use crate::onion_router::OnionRouter;
use crate::router::PartsRouter;
use crate::types::{Graph, Manager, Monitor, Scorer, Sweeper};
use crate::wallet::Wallet;

/// The CLTV delta for forwarding: LDK accepts no less than 48 (channelmanager.rs, MIN_CLTV_EXPIRY_DELTA).
const CLTV_EXPIRY_DELTA: u16 = 72;
const FEE_BASE_MSAT: u32 = 1_000;
const FEE_PPM: u32 = 1;

/// LDK's objects, not yet synced to the tip of the chain.
pub struct Parts {
    pub keys: Arc<KeysManager>,
    pub log: Arc<Log>,
    pub store: Arc<FilesystemStore>,
    pub bitcoind: Arc<Bitcoind>,
    pub wallet: Arc<Wallet>,
    pub graph: Arc<Graph>,
    pub scorer: Arc<RwLock<Scorer>>,
    pub router: Arc<PartsRouter>,
    pub message_router: Arc<OnionRouter>,
    pub monitor: Arc<Monitor>,
    pub manager: Arc<Manager>,
    pub manager_block: BlockLocator,
    pub sweeper: Arc<Sweeper>,
    pub sweeper_block: BlockLocator,
    /// The channel monitors, to be synced to the tip and then passed to `monitor`.
    pub channel_monitors: Vec<(BlockLocator, ChannelMonitor<InMemorySigner>)>,
}

/// Return the settings of all channels.
pub fn user_config(given: &Config) -> UserConfig {
    let mut config = UserConfig::default();
    config.channel_handshake_config.minimum_depth = 1;
    config.channel_handshake_config.our_max_accepted_htlcs = given.max_accepted_htlcs;
    config.channel_handshake_config.announced_channel_max_inbound_htlc_value_in_flight_percentage = 100;
    config.channel_handshake_config.unannounced_channel_max_inbound_htlc_value_in_flight_percentage = 100;
    config.channel_handshake_config.negotiate_anchors_zero_fee_htlc_tx = true;
    config.channel_handshake_limits.force_announced_channel_preference = false;
    config.channel_config.cltv_expiry_delta = CLTV_EXPIRY_DELTA;
    config.channel_config.forwarding_fee_base_msat = FEE_BASE_MSAT;
    config.channel_config.forwarding_fee_proportional_millionths = FEE_PPM;
    config.accept_forwards_to_priv_channels = true;
    config.enable_htlc_hold = given.enable_htlc_hold;
    config.hold_outbound_htlcs_at_next_hop = given.hold_outbound_htlcs_at_next_hop;
    if given.hold_forwards {
        config.htlc_interception_flags = HTLCInterceptionFlags::ToOfflinePrivateChannels as u8
            | HTLCInterceptionFlags::ToOnlinePrivateChannels as u8
            | HTLCInterceptionFlags::ToPublicChannels as u8;
    }
    config
}

/// Load everything from disk, or create it. Query bitcoind for its tip if the node is new. An error is a sentence for
/// the user.
pub async fn load(config: &Config) -> Result<Parts, String> {
    let log = Arc::new(Log(lightning::util::logger::Level::Info));
    let seed = seed(&config.data_dir)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
    let keys = Arc::new(KeysManager::new(&seed, now.as_secs(), now.subsec_nanos(), true));
    let store = Arc::new(FilesystemStore::new(config.data_dir.clone()));
    let bitcoind = Arc::new(Bitcoind::new(config));
    let wallet = Arc::new(Wallet::load(&seed, config.network, store.clone())?);

    let graph = match read(&store, NETWORK_GRAPH_PERSISTENCE_KEY)? {
        Some(bytes) => NetworkGraph::read(&mut Cursor::new(bytes), log.clone())
            .map_err(|error| format!("the network graph on disk cannot be read: {error:?}"))?,
        None => NetworkGraph::new(config.network, log.clone()),
    };
    let graph = Arc::new(graph);
    let scorer = scorer(&store, &graph, &log)?;
    let paths = DefaultRouter::new(
        graph.clone(),
        log.clone(),
        keys.clone(),
        scorer.clone(),
        ProbabilisticScoringFeeParameters::default(),
    );
    let router = Arc::new(PartsRouter::new(paths));
    let message_router = Arc::new(OnionRouter::new(graph.clone(), keys.clone()));
    // Monitors are written after the manager that knows of them, so a kill between the two writes closes no channel.
    let deferred = true;
    let monitor = Arc::new(ChainMonitor::new(
        None,
        bitcoind.clone(),
        log.clone(),
        bitcoind.clone(),
        store.clone(),
        keys.clone(),
        keys.get_peer_storage_key(),
        deferred,
    ));
    let channel_monitors = read_channel_monitors(store.clone(), keys.clone(), keys.clone())
        .map_err(|error| format!("the channels on disk cannot be read: {error}"))?;
    let settings = user_config(config);
    let (manager_block, manager) = match read(&store, CHANNEL_MANAGER_PERSISTENCE_KEY)? {
        Some(bytes) => {
            let arguments = ChannelManagerReadArgs::new(
                keys.clone(),
                keys.clone(),
                keys.clone(),
                bitcoind.clone(),
                monitor.clone(),
                bitcoind.clone(),
                router.clone(),
                message_router.clone(),
                log.clone(),
                settings,
                channel_monitors.iter().map(|(_, monitor)| monitor).collect(),
            );
            <(BlockLocator, Manager)>::read(&mut Cursor::new(bytes), arguments)
                .map_err(|error| format!("the node on disk cannot be read: {error:?}"))?
        }
        None => {
            let tip = validate_best_block_header(bitcoind.rpc.clone())
                .await
                .map_err(|error| format!("bitcoind does not tell its tip: {:?}", error.into_inner()))?;
            let best_block = BlockLocator::new(tip.header.block_hash(), tip.height);
            let chain = ChainParameters { network: config.network, best_block };
            let manager = Manager::new(
                bitcoind.clone(),
                monitor.clone(),
                bitcoind.clone(),
                router.clone(),
                message_router.clone(),
                log.clone(),
                keys.clone(),
                keys.clone(),
                keys.clone(),
                settings,
                chain,
                now.as_secs() as u32,
            );
            (best_block, manager)
        }
    };
    let (sweeper_block, sweeper) = match read(&store, OUTPUT_SWEEPER_PERSISTENCE_KEY)? {
        Some(bytes) => {
            let arguments =
                (bitcoind.clone(), bitcoind.clone(), None, keys.clone(), wallet.clone(), store.clone(), log.clone());
            <(BlockLocator, Sweeper)>::read(&mut Cursor::new(bytes), arguments)
                .map_err(|error| format!("the sweeper's file cannot be read: {error:?}"))?
        }
        None => {
            let sweeper = Sweeper::new(
                manager_block,
                bitcoind.clone(),
                bitcoind.clone(),
                None,
                keys.clone(),
                wallet.clone(),
                store.clone(),
                log.clone(),
            );
            (manager_block, sweeper)
        }
    };
    Ok(Parts {
        keys,
        log,
        store,
        bitcoind,
        wallet,
        graph,
        scorer,
        router,
        message_router,
        monitor,
        manager: Arc::new(manager),
        manager_block,
        sweeper: Arc::new(sweeper),
        sweeper_block,
        channel_monitors,
    })
}

/// Read one of LDK's own files, which have no namespace; `None` if it does not exist yet.
fn read(store: &Arc<FilesystemStore>, key: &str) -> Result<Option<Vec<u8>>, String> {
    match KVStoreSync::read(&**store, "", "", key) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == lightning::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{key} cannot be read: {error}")),
    }
}

fn scorer(store: &Arc<FilesystemStore>, graph: &Arc<Graph>, log: &Arc<Log>) -> Result<Arc<RwLock<Scorer>>, String> {
    let parameters = ProbabilisticScoringDecayParameters::default();
    let scorer = match read(store, SCORER_PERSISTENCE_KEY)? {
        Some(bytes) => {
            let arguments = (parameters, graph.clone(), log.clone());
            ProbabilisticScorer::read(&mut Cursor::new(bytes), arguments)
                .map_err(|error| format!("the scores on disk cannot be read: {error:?}"))?
        }
        None => ProbabilisticScorer::new(parameters, graph.clone(), log.clone()),
    };
    Ok(Arc::new(RwLock::new(scorer)))
}

/// Return the 32 bytes from which all keys are derived. They are created at the first start, and on disk before they
/// are used.
fn seed(folder: &Path) -> Result<[u8; 32], String> {
    let path = folder.join("seed");
    let said = |error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(folder).map_err(said)?;
    let mut seed = [0; 32];
    if path.exists() {
        let bytes = fs::read(&path).map_err(said)?;
        return bytes.try_into().map_err(|_| format!("{}: not 32 bytes", path.display()));
    }
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut seed)).map_err(said)?;
    let unfinished = folder.join("seed.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished).map_err(said)?;
    file.write_all(&seed).and_then(|()| file.sync_all()).map_err(said)?;
    fs::rename(&unfinished, &path).map_err(said)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(said)?;
    Ok(seed)
}
