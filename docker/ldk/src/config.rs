//! What the daemon is told on its command line.

use std::path::PathBuf;

use bitcoin::Network;

/// How to use the daemon; printed for `--help` and after a mistake.
pub const USAGE: &str = "ldkd --data-dir DIR --socket FILE --bitcoind-url URL --bitcoind-user USER \
--bitcoind-password PASSWORD [--network regtest] [--alias NAME] [--listen HOST:PORT] [--hold-forwards] [--no-redial] \
[--enable-htlc-hold] [--hold-outbound-htlcs-at-next-hop]";

/// The settings of one run.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    /// Where everything is that has to survive: seed, channels, payments.
    pub data_dir: PathBuf,
    /// The Unix socket for JSON-RPC, made anew at each start.
    pub socket: PathBuf,
    /// bitcoind's RPC, such as `http://127.0.0.1:18443`.
    pub bitcoind_url: String,
    pub bitcoind_user: String,
    pub bitcoind_password: String,
    pub network: Network,
    /// The name in the node's announcement, at most 32 bytes of it.
    pub alias: String,
    /// Where peers may connect; `None`: nowhere.
    pub listen: Option<String>,
    /// Every HTLC to be forwarded waits for an answer over the socket.
    pub hold_forwards: bool,
    /// Peers that were dialled once are dialled again while they have a channel and are away.
    pub redial: bool,
    /// LDK's own async payments, for its peers: it holds their HTLCs, serves their static invoices, and keeps onion
    /// messages for them while they are away.
    pub enable_htlc_hold: bool,
    /// LDK's own async payments, for itself: its peer holds its HTLCs.
    pub hold_outbound_htlcs_at_next_hop: bool,
}

impl Config {
    /// Read the words of the command line; an error is a sentence for its user.
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
                | "--listen" => {
                    let value = words.next().ok_or(format!("{word} needs a value"))?;
                    values.insert(word, value);
                }
                _ => return Err(format!("unknown option {word:?}")),
            }
        }
        if hold_forwards && enable_htlc_hold {
            // After a restart LDK asks about the HTLCs that it holds itself as about all others.
            return Err("--hold-forwards and --enable-htlc-hold exclude each other".into());
        }
        let network = values.remove("--network").unwrap_or("regtest".into());
        let alias = values.remove("--alias").unwrap_or_default();
        let listen = values.remove("--listen");
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
    }

    #[test]
    fn names_the_option_that_is_wrong() {
        assert!(parse("--socket /s").unwrap_err().contains("--data-dir"));
        assert!(parse(&format!("{WORDS} --hold-forwards --enable-htlc-hold")).unwrap_err().contains("exclude"));
        assert!(parse("--frob").unwrap_err().contains("--frob"));
        assert!(parse("--alias").unwrap_err().contains("--alias"));
        assert!(parse(&format!("{WORDS} --network moon")).unwrap_err().contains("moon"));
    }
}
