//! The settings from the daemon's command line.

use std::path::PathBuf;

use bitcoin::Network;

/// The usage text, printed for `--help` and after an invalid command line.
pub const USAGE: &str = "ldkd --data-dir DIR --socket FILE --bitcoind-url URL --bitcoind-user USER \
--bitcoind-password PASSWORD [--network regtest] [--alias NAME] [--listen HOST:PORT] [--hold-forwards] [--no-redial] \
[--max-accepted-htlcs NUMBER] [--enable-htlc-hold] [--hold-outbound-htlcs-at-next-hop]";

/// The maximum number of HTLCs from one end of a channel (BOLT 2).
const MOST_HTLCS: u16 = 483;

/// The settings of one run.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder of all persistent data: seed, channels, payments.
    pub data_dir: PathBuf,
    /// The Unix socket for JSON-RPC, created anew at each start.
    pub socket: PathBuf,
    /// bitcoind's RPC, such as `http://127.0.0.1:18443`.
    pub bitcoind_url: String,
    pub bitcoind_user: String,
    pub bitcoind_password: String,
    pub network: Network,
    /// The alias in the node's announcement; its first 32 bytes are used.
    pub alias: String,
    /// The address on which peers may connect; `None`: do not listen.
    pub listen: Option<String>,
    /// Hold every HTLC to be forwarded until it is answered over the socket.
    pub hold_forwards: bool,
    /// Reconnect to peers that were dialled before, while they have a channel and are disconnected.
    pub redial: bool,
    /// The number of HTLCs that a peer may have offered at the same time on a channel, 1 to 483 (BOLT 2's
    /// `max_accepted_htlcs`); of channels that are opened from now on.
    pub max_accepted_htlcs: u16,
    /// LDK's own async payments, as an LSP: hold the HTLCs of peers, serve their static invoices, and store onion
    /// messages for them while they are offline.
    pub enable_htlc_hold: bool,
    /// LDK's own async payments, as a payer: the peer holds this node's HTLCs.
    pub hold_outbound_htlcs_at_next_hop: bool,
}

impl Config {
    /// Parse the arguments of the command line; an error is a sentence for the user.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut values = std::collections::HashMap::new();
        let (mut hold_forwards, mut redial) = (false, true);
        let (mut enable_htlc_hold, mut hold_outbound_htlcs_at_next_hop) = (false, false);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--hold-forwards" => hold_forwards = true,
                "--no-redial" => redial = false,
                "--enable-htlc-hold" => enable_htlc_hold = true,
                "--hold-outbound-htlcs-at-next-hop" => hold_outbound_htlcs_at_next_hop = true,
                "--data-dir"
                | "--socket"
                | "--bitcoind-url"
                | "--bitcoind-user"
                | "--bitcoind-password"
                | "--network"
                | "--alias"
                | "--listen"
                | "--max-accepted-htlcs" => {
                    let value = words.next().ok_or(format!("{word} needs a value"))?;
                    values.insert(word, value);
                }
                _ => return Err(format!("unknown option {word:?}")),
            }
        }
        if hold_forwards && enable_htlc_hold {
            // After a restart LDK emits `HTLCIntercepted` also for the HTLCs that it holds itself.
            return Err("--hold-forwards and --enable-htlc-hold exclude each other".into());
        }
        let network = values.remove("--network").unwrap_or("regtest".into());
        let alias = values.remove("--alias").unwrap_or_default();
        let listen = values.remove("--listen");
        let max_accepted_htlcs = match values.remove("--max-accepted-htlcs") {
            Some(number) => match number.parse() {
                Ok(parsed @ 1..=MOST_HTLCS) => parsed,
                _ => return Err(format!("--max-accepted-htlcs needs a number from 1 to {MOST_HTLCS}, not {number:?}")),
            },
            None => MOST_HTLCS,
        };
        let mut needed = |name: &str| values.remove(name).ok_or(format!("{name} is missing"));
        Ok(Config {
            data_dir: needed("--data-dir")?.into(),
            socket: needed("--socket")?.into(),
            bitcoind_url: needed("--bitcoind-url")?,
            bitcoind_user: needed("--bitcoind-user")?,
            bitcoind_password: needed("--bitcoind-password")?,
            network: network.parse().map_err(|_| format!("unknown network {network:?}"))?,
            alias,
            listen,
            hold_forwards,
            redial,
            max_accepted_htlcs,
            enable_htlc_hold,
            hold_outbound_htlcs_at_next_hop,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "--data-dir /d --socket /s --bitcoind-url http://b:1 --bitcoind-user u --bitcoind-password p";

    fn parse(words: &str) -> Result<Config, String> {
        Config::parse(words.split_whitespace().map(String::from))
    }

    #[test]
    fn reads_what_is_needed_and_leaves_the_rest_at_its_default() {
        let config = parse(WORDS).unwrap();
        assert_eq!(config.network, Network::Regtest);
        assert!(!config.hold_forwards && config.redial && config.listen.is_none());
        assert!(parse(&format!("{WORDS} --hold-forwards")).unwrap().hold_forwards);
        assert_eq!(config.max_accepted_htlcs, 483);
        assert_eq!(parse(&format!("{WORDS} --max-accepted-htlcs 16")).unwrap().max_accepted_htlcs, 16);
    }

    #[test]
    fn names_the_option_that_is_wrong() {
        assert!(parse("--socket /s").unwrap_err().contains("--data-dir"));
        assert!(parse(&format!("{WORDS} --hold-forwards --enable-htlc-hold")).unwrap_err().contains("exclude"));
        assert!(parse("--frob").unwrap_err().contains("--frob"));
        assert!(parse("--alias").unwrap_err().contains("--alias"));
        for wrong in ["0", "484", "-1", "many"] {
            assert!(parse(&format!("{WORDS} --max-accepted-htlcs {wrong}")).unwrap_err().contains("1 to 483"));
        }
        assert!(parse(&format!("{WORDS} --network moon")).unwrap_err().contains("moon"));
    }
}
