//! Paths for LDK's own onion messages.
//!
//! LDK dials the first node of a blinded path if it is not a peer. A phone can connect only to its LSP, so here such a
//! message is routed over announced channels instead, from peer to peer, as BOLT 4 describes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bitcoin::secp256k1::{PublicKey, Secp256k1, Signing, Verification};
use lightning::blinded_path::message::{BlindedMessagePath, MessageContext, MessageForwardNode};
use lightning::blinded_path::IntroductionNode;
use lightning::onion_message::messenger::{DefaultMessageRouter, Destination, MessageRouter, OnionMessagePath};
use lightning::routing::gossip::{NodeId, ReadOnlyNetworkGraph};
use lightning::sign::{KeysManager, ReceiveAuthKey};

use crate::log::Log;
use crate::types::Graph;

/// The maximum number of nodes that a search visits, starting at the destination: strangers can make this node search
/// for paths.
const MAX_NODES: usize = 2_000;

/// LDK's message router, extended by paths of several hops.
pub struct OnionRouter {
    graph: Arc<Graph>,
    direct: DefaultMessageRouter<Arc<Graph>, Arc<Log>, Arc<KeysManager>>,
}

impl OnionRouter {
    /// Find paths over the channels of this graph.
    pub fn new(graph: Arc<Graph>, keys: Arc<KeysManager>) -> Self {
        OnionRouter { direct: DefaultMessageRouter::new(graph.clone(), keys), graph }
    }
}

impl MessageRouter for OnionRouter {
    fn find_path(
        &self,
        sender: PublicKey,
        peers: Vec<PublicKey>,
        mut destination: Destination,
    ) -> Result<OnionMessagePath, ()> {
        let graph = self.graph.read_only();
        destination.resolve(&graph);
        if let Some(first) = first_node(&destination) {
            if first != sender && !peers.contains(&first) {
                if let Some(intermediate_nodes) = hops_to(&graph, &sender, &peers, &first) {
                    return Ok(OnionMessagePath { intermediate_nodes, destination, first_node_addresses: Vec::new() });
                }
            }
        }
        drop(graph);
        self.direct.find_path(sender, peers, destination)
    }

    fn create_blinded_paths<T: Signing + Verification>(
        &self,
        recipient: PublicKey,
        local_node_receive_key: ReceiveAuthKey,
        context: MessageContext,
        peers: Vec<MessageForwardNode>,
        secp: &Secp256k1<T>,
    ) -> Result<Vec<BlindedMessagePath>, ()> {
        self.direct.create_blinded_paths(recipient, local_node_receive_key, context, peers, secp)
    }
}

fn first_node(destination: &Destination) -> Option<PublicKey> {
    match destination {
        Destination::Node(node) => Some(*node),
        Destination::BlindedPath(path) => match path.introduction_node() {
            IntroductionNode::NodeId(node) => Some(*node),
            IntroductionNode::DirectedShortChannelId(..) => None,
        },
    }
}

/// Return the fewest nodes between this node and `target`, a peer first; `None` if no announced channels lead there.
fn hops_to(
    graph: &ReadOnlyNetworkGraph,
    sender: &PublicKey,
    peers: &[PublicKey],
    target: &PublicKey,
) -> Option<Vec<PublicKey>> {
    let (sender, target) = (NodeId::from_pubkey(sender), NodeId::from_pubkey(target));
    let peers: HashSet<NodeId> = peers.iter().map(NodeId::from_pubkey).collect();
    let relays = |id: &NodeId| {
        let announced = graph.node(id).and_then(|node| node.announcement_info.as_ref());
        announced.is_some_and(|announced| announced.features().supports_onion_messages())
    };
    // The search runs backwards from the target. By node: the next node on the way to the target.
    let mut onward = HashMap::from([(target, target)]);
    let mut queue = VecDeque::from([target]);
    while let Some(at) = queue.pop_front() {
        if onward.len() > MAX_NODES {
            return None;
        }
        for scid in &graph.node(&at)?.channels {
            let Some(channel) = graph.channel(*scid) else { continue };
            let other = if channel.node_one == at { channel.node_two } else { channel.node_one };
            if other == sender || onward.contains_key(&other) || !relays(&other) {
                continue;
            }
            onward.insert(other, at);
            if peers.contains(&other) {
                return path_from(&onward, other, target);
            }
            queue.push_back(other);
        }
    }
    None
}

fn path_from(onward: &HashMap<NodeId, NodeId>, first: NodeId, target: NodeId) -> Option<Vec<PublicKey>> {
    let (mut path, mut at) = (Vec::new(), first);
    while at != target {
        path.push(at.as_pubkey().ok()?);
        at = *onward.get(&at)?;
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::constants::ChainHash;
    use bitcoin::secp256k1::SecretKey;
    use bitcoin::Network;
    use lightning::ln::msgs::{UnsignedChannelAnnouncement, UnsignedNodeAnnouncement};
    use lightning::routing::gossip::{NetworkGraph, NodeAlias};
    use lightning::routing::utxo::UtxoLookup;
    use lightning::types::features::{ChannelFeatures, NodeFeatures};
    use lightning::util::logger::Level;

    fn node(number: u8) -> PublicKey {
        PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&[number; 32]).unwrap())
    }

    /// Build a graph of these channels. The `silent` nodes do not relay onion messages.
    fn graph(channels: &[(u8, u8)], silent: &[u8]) -> Graph {
        let graph = NetworkGraph::new(Network::Regtest, Arc::new(Log(Level::Error)));
        for (scid, (one, two)) in channels.iter().enumerate() {
            let announced = UnsignedChannelAnnouncement {
                features: ChannelFeatures::empty(),
                chain_hash: ChainHash::using_genesis_block(Network::Regtest),
                short_channel_id: scid as u64 + 1,
                node_id_1: NodeId::from_pubkey(&node(*one)),
                node_id_2: NodeId::from_pubkey(&node(*two)),
                bitcoin_key_1: NodeId::from_pubkey(&node(*one)),
                bitcoin_key_2: NodeId::from_pubkey(&node(*two)),
                excess_data: Vec::new(),
            };
            let unchecked: Option<Arc<dyn UtxoLookup + Send + Sync>> = None;
            graph.update_channel_from_unsigned_announcement(&announced, &unchecked).unwrap();
        }
        for number in channels.iter().flat_map(|(one, two)| [*one, *two]) {
            let mut features = NodeFeatures::empty();
            if !silent.contains(&number) {
                features.set_onion_messages_optional();
            }
            let announced = UnsignedNodeAnnouncement {
                features,
                timestamp: 1,
                node_id: NodeId::from_pubkey(&node(number)),
                rgb: [0; 3],
                alias: NodeAlias([0; 32]),
                addresses: Vec::new(),
                excess_address_data: Vec::new(),
                excess_data: Vec::new(),
            };
            let _ = graph.update_node_from_unsigned_announcement(&announced);
        }
        graph
    }

    fn hops(graph: &Graph, peers: &[u8], target: u8) -> Option<Vec<PublicKey>> {
        let peers: Vec<_> = peers.iter().copied().map(node).collect();
        hops_to(&graph.read_only(), &node(9), &peers, &node(target))
    }

    #[test]
    fn a_message_goes_over_the_fewest_nodes_of_which_the_first_is_a_peer() {
        let line = graph(&[(1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 3)], &[]);
        assert_eq!(hops(&line, &[1], 4), Some(vec![node(1), node(2), node(3)]));
        assert_eq!(hops(&line, &[1], 2), Some(vec![node(1)]));
        assert_eq!(hops(&line, &[7], 4), None);
        assert_eq!(hops(&line, &[1], 8), None);
    }

    #[test]
    fn no_message_goes_over_a_node_that_does_not_relay_it_or_over_this_one() {
        let around = graph(&[(1, 2), (2, 3), (1, 4), (4, 5), (5, 3)], &[2]);
        assert_eq!(hops(&around, &[1], 3), Some(vec![node(1), node(4), node(5)]));
        assert_eq!(hops(&graph(&[(1, 9), (9, 3)], &[]), &[1], 3), None);
    }
}
