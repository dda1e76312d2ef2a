"""The running wallet: thin shells around the payer's and the payee's engines. Start reading in `session`."""
