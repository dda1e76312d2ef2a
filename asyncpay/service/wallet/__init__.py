"""The running wallet: thin shells around the payer's and the payee's engines. `session` says where to read on."""
