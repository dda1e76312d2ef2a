-- One table for each record of asyncpay.engine.payer and asyncpay.engine.payee; columns are the records' fields, nested
-- ones spread out. Hashes and keys are raw bytes, amounts millisatoshi, times Unix seconds.

CREATE TABLE payments (
    payment_hash BLOB PRIMARY KEY,
    pid BLOB NOT NULL,
    lsp BLOB NOT NULL,
    payee BLOB NOT NULL,
    invoice TEXT NOT NULL,
    description TEXT NOT NULL,
    amount_msat INTEGER NOT NULL,
    fee_limit_msat INTEGER NOT NULL,
    slack_blocks INTEGER NOT NULL,
    cltv_limit_blocks INTEGER NOT NULL,
    max_parts INTEGER NOT NULL,
    max_part_msat INTEGER,
    release_by_height INTEGER NOT NULL,
    hold_until INTEGER NOT NULL,
    request BLOB NOT NULL,
    cancel BLOB NOT NULL,
    path_key BLOB NOT NULL, -- of the message with payment_pending
    packet BLOB NOT NULL,
    created_at REAL NOT NULL,
    stage TEXT NOT NULL,
    requests_sent INTEGER NOT NULL,
    request_next_at REAL,
    cancelled INTEGER NOT NULL,
    cancels_sent INTEGER NOT NULL,
    cancel_next_at REAL,
    told INTEGER,
    told_parts INTEGER NOT NULL,
    preimage BLOB,
    fee_msat INTEGER NOT NULL,
    failure TEXT NOT NULL,
    ended_at REAL
) STRICT, WITHOUT ROWID;

CREATE TABLE claims (
    pid BLOB PRIMARY KEY,
    payment_hashes BLOB NOT NULL, -- 32 bytes each, one behind the other
    paid BLOB NOT NULL, -- likewise
    amount_msat INTEGER NOT NULL,
    release_by_height INTEGER NOT NULL,
    hold_until INTEGER NOT NULL,
    release_path BLOB,
    payer_lsp BLOB,
    payer BLOB,
    announced_at REAL NOT NULL,
    stage TEXT NOT NULL,
    tries INTEGER NOT NULL,
    next_at REAL,
    failure TEXT NOT NULL
) STRICT, WITHOUT ROWID;
