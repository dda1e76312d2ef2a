//! ldkd: a Lightning node on LDK for the testbed, controlled by JSON-RPC over a Unix socket (README.md).

mod bitcoind;
mod chain;
mod channel_messages;
mod config;
mod connections;
mod custom_messages;
mod early_signatures;
mod events;
mod exchange;
mod forwards;
mod funding;
mod gossip;
mod hex;
mod htlcs;
mod invoices;
mod log;
mod mailbox;
mod methods;
mod network_graph;
mod node;
mod offers;
mod onion_router;
mod onions;
mod own_gossip;
mod payments;
mod receipts;
mod records;
mod router;
mod rpc;
mod session;
mod setup;
mod static_invoices;
mod types;
mod views;
mod wallet;
mod wire_log;

use std::process::ExitCode;

use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::watch;

use crate::config::{Config, USAGE};
use crate::node::Node;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if words.iter().any(|word| word == "--version") {
        println!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let ended = match Config::parse(words.into_iter()) {
        Ok(config) => run(config).await,
        Err(mistake) => Err(format!("{mistake}\n{USAGE}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ldkd: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Run until SIGTERM or SIGINT.
async fn run(config: Config) -> Result<(), String> {
    let said = |error: std::io::Error| error.to_string();
    let mut terminate = signal(SignalKind::terminate()).map_err(said)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(said)?;
    let (stop, stopped) = watch::channel(());
    let socket = config.socket.clone();
    let (node, background) = tokio::select! {
        started = Node::start(config, stopped) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let peers = node.peers.clone();
    let handle = move |method, params| methods::call(node.clone(), method, params);
    tokio::select! {
        ended = rpc::serve(&socket, handle) => ended?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    peers.disconnect_all_peers();
    let _ = stop.send(());
    background.await.map_err(|error| error.to_string())
}
