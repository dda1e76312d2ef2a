"""What runs beside the nodes: bitcoind, Toxiproxy, the push gateway, LSP components, phones and their wallets."""
