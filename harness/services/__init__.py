"""The services other than nodes: bitcoind, Toxiproxy, the push gateway, LSP components, phones and their wallets."""
