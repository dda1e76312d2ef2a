-- One table for each record of asyncpay.engine.lsp.records; columns are the records' fields, nested ones
-- spread out. Hashes and keys are raw bytes, amounts millisatoshi, times Unix seconds.

CREATE TABLE blocks (
    unblock_hash BLOB PRIMARY KEY,
    client BLOB NOT NULL,
    digest BLOB NOT NULL,
    payment_hashes BLOB NOT NULL, -- 32 bytes each, one behind the other
    amount_msat INTEGER NOT NULL,
    release_by_height INTEGER NOT NULL,
    hold_until INTEGER NOT NULL,
    invoice TEXT,
    invoice_expires_at INTEGER,
    courier BLOB,
    stage TEXT NOT NULL,
    first_part_at REAL,
    courier_sent INTEGER NOT NULL,
    courier_next_at REAL,
    told INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE htlcs (
    short_channel_id TEXT NOT NULL, -- as block x transaction x output: aliases exceed 63 bits
    htlc_id INTEGER NOT NULL,
    payment_hash BLOB NOT NULL,
    peer BLOB NOT NULL,
    incoming_amount_msat INTEGER NOT NULL,
    outgoing_amount_msat INTEGER NOT NULL,
    incoming_expiry INTEGER NOT NULL,
    outgoing_expiry INTEGER NOT NULL,
    outgoing_channel TEXT,
    outgoing_node BLOB,
    block BLOB,
    offered_at REAL NOT NULL,
    verdict TEXT,
    preimage BLOB,
    outcome TEXT,
    gone INTEGER NOT NULL,
    PRIMARY KEY (short_channel_id, htlc_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    payment_hash BLOB PRIMARY KEY,
    block BLOB NOT NULL,
    fee_limit_msat INTEGER NOT NULL,
    latest_expiry INTEGER NOT NULL,
    state TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE letters (
    client BLOB NOT NULL,
    letter_id BLOB NOT NULL,
    number INTEGER NOT NULL,
    source BLOB NOT NULL,
    path_key BLOB NOT NULL,
    packet BLOB NOT NULL,
    arrived_at REAL NOT NULL,
    PRIMARY KEY (client, letter_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE delivered (
    client BLOB NOT NULL,
    letter_id BLOB NOT NULL,
    delivered_at REAL NOT NULL,
    pushed_at REAL NOT NULL,
    PRIMARY KEY (client, letter_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE calls (
    client BLOB NOT NULL,
    method TEXT NOT NULL,
    tries INTEGER NOT NULL,
    last_at REAL,
    next_at REAL,
    PRIMARY KEY (client, method)
) STRICT, WITHOUT ROWID;

CREATE TABLE webhooks (
    client BLOB NOT NULL,
    app_name TEXT NOT NULL,
    url TEXT NOT NULL,
    used_at REAL NOT NULL,
    PRIMARY KEY (client, app_name)
) STRICT, WITHOUT ROWID;
