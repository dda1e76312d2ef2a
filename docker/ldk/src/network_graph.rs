//! The network graph: pruned and written to disk periodically, and read at the start (`setup`).
//!
//! LDK's background processor can do both, but it then also removes a channel from the graph for a week when the reason
//! of a failed payment is permanent (`handle_network_graph_update` in its lib.rs). A node with LDK that returns a held
//! HTLC can give no other reason than unknown_next_peer (`ChannelManager::fail_intercepted_htlc`), which is permanent.
//! Its payer, often a phone with one channel, would lose its only route, for payments and for onion messages. The
//! scorer, which LDK updates as well, is enough to try other routes first.

use std::sync::Arc;
use std::time::Duration;

use lightning::util::persist::{KVStoreSync, NETWORK_GRAPH_PERSISTENCE_KEY};
use lightning::util::ser::Writeable;
use lightning_persister::fs_store::v1::FilesystemStore;

use crate::node::unix_time;
use crate::types::Graph;

/// The interval of `keep`, and the time until it first acts.
const KEEP_TIME: Duration = Duration::from_secs(3600);
const FIRST_KEEP_TIME: Duration = Duration::from_secs(60);

/// Prune and write the graph, again and again.
pub async fn keep(graph: Arc<Graph>, store: Arc<FilesystemStore>) {
    let mut wait = FIRST_KEEP_TIME;
    loop {
        tokio::time::sleep(wait).await;
        graph.remove_stale_channels_and_tracking_with_time(unix_time().as_secs());
        save(&graph, &store);
        wait = KEEP_TIME;
    }
}

/// Write the graph to disk. A failure is only logged: the node learns from its peers what the file lacks.
pub fn save(graph: &Graph, store: &FilesystemStore) {
    if let Err(error) = KVStoreSync::write(store, "", "", NETWORK_GRAPH_PERSISTENCE_KEY, graph.encode()) {
        eprintln!("WARN the network graph is not on disk: {error}");
    }
}
