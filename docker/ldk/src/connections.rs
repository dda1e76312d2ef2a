//! Connections to peers: outgoing, redialled, and incoming.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::util::persist::KVStoreSync;
use lightning_net_tokio::{connect_outbound, setup_inbound};
use lightning_persister::fs_store::v1::FilesystemStore;
use tokio::net::{lookup_host, TcpListener};

use crate::types::{Manager, Peers};

/// The interval at which disconnected peers are dialled again.
const REDIAL_TIME: Duration = Duration::from_secs(1);
/// The time limit of the handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
const NAMESPACE: &str = "addresses";

/// The peers to dial, and their addresses. Safe to use from several threads.
pub struct Connections {
    peers: Arc<Peers>,
    manager: Arc<Manager>,
    store: Arc<FilesystemStore>,
    addresses: Mutex<HashMap<PublicKey, String>>,
}

impl Connections {
    /// Load the addresses that worked before.
    pub fn load(peers: Arc<Peers>, manager: Arc<Manager>, store: Arc<FilesystemStore>) -> Self {
        let mut addresses = HashMap::new();
        for key in KVStoreSync::list(&*store, NAMESPACE, "").unwrap_or_default() {
            let address = KVStoreSync::read(&*store, NAMESPACE, "", &key);
            let address = address.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            if let (Ok(peer), Some(address)) = (key.parse(), address) {
                addresses.insert(peer, address);
            }
        }
        Connections { peers, manager, store, addresses: Mutex::new(addresses) }
    }

    /// Dial a peer at host:port and wait for the handshake. The address is used to dial the peer again while it has a
    /// channel.
    pub async fn connect(&self, peer: PublicKey, address: &str) -> Result<(), String> {
        if self.peers.peer_by_node_id(&peer).is_none() {
            self.dial(peer, address).await?;
        }
        let key = peer.to_string();
        KVStoreSync::write(&*self.store, NAMESPACE, "", &key, address.into())
            .map_err(|error| format!("disk: {error}"))?;
        self.addresses.lock().unwrap().insert(peer, address.to_owned());
        Ok(())
    }

    /// Disconnect a peer; return false if it was not connected. It may reconnect soon, like at any other node.
    pub fn disconnect(&self, peer: PublicKey) -> bool {
        let there = self.peers.peer_by_node_id(&peer).is_some();
        self.peers.disconnect_by_node_id(peer);
        there
    }

    /// Keep dialling disconnected peers that have a channel.
    pub async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(REDIAL_TIME).await;
            let away = self.manager.list_channels().into_iter().filter(|channel| !channel.is_usable);
            let mut away: Vec<_> = away.map(|channel| channel.counterparty.node_id).collect();
            away.sort();
            away.dedup();
            for peer in away {
                let address = self.addresses.lock().unwrap().get(&peer).cloned();
                if let (Some(address), None) = (address, self.peers.peer_by_node_id(&peer)) {
                    let this = self.clone();
                    let dialling = tokio::spawn(async move { this.dial(peer, &address).await });
                    let _ = tokio::time::timeout(REDIAL_TIME, dialling).await;
                }
            }
        }
    }

    /// Accept connections at host:port in a separate task.
    pub async fn listen(&self, address: &str) -> Result<(), String> {
        let listener =
            TcpListener::bind(address).await.map_err(|error| format!("cannot listen at {address}: {error}"))?;
        let peers = self.peers.clone();
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => match stream.into_std() {
                        Ok(stream) => drop(tokio::spawn(setup_inbound(peers.clone(), stream))),
                        Err(error) => eprintln!("WARN accept: {error}"),
                    },
                    Err(error) => {
                        eprintln!("WARN accept: {error}");
                        tokio::time::sleep(REDIAL_TIME).await;
                    }
                }
            }
        });
        Ok(())
    }

    async fn dial(&self, peer: PublicKey, address: &str) -> Result<(), String> {
        let mut found = lookup_host(address).await.map_err(|error| format!("{address:?} is no address: {error}"))?;
        let address: SocketAddr = found.next().ok_or(format!("{address:?} is no address"))?;
        let connection = connect_outbound(self.peers.clone(), peer, address)
            .await
            .ok_or(format!("{address} does not take a connection"))?;
        let mut ended = tokio::spawn(connection);
        let handshake = async {
            while self.peers.peer_by_node_id(&peer).is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = handshake => Ok(()),
            _ = &mut ended => Err(format!("{address} hung up: it may be another node")),
            () = tokio::time::sleep(HANDSHAKE_TIME) => Err(format!("{address} does not shake hands")),
        }
    }
}
