-- Finished blocks that nothing waits for, with their parts and attempts: moved here from the tables that are loaded at the
-- start, and found by what an event names (asyncpay/store/archive.py). They need no courier and no invoice.

CREATE TABLE archived_blocks (
    number INTEGER PRIMARY KEY, -- in the order in which they were archived
    unblock_hash BLOB NOT NULL UNIQUE,
    client BLOB NOT NULL,
    digest BLOB NOT NULL,
    payment_hashes BLOB NOT NULL, -- 32 bytes each, one behind the other
    amount_msat INTEGER NOT NULL,
    release_by_height INTEGER NOT NULL,
    hold_until INTEGER NOT NULL,
    invoice TEXT,
    invoice_expires_at INTEGER,
    courier BLOB,
    state TEXT NOT NULL,
    first_part_at REAL,
    courier_sent INTEGER NOT NULL,
    courier_next_at REAL,
    told INTEGER,
    forget_after INTEGER, -- a Unix second, as long as it has not passed
    forget_at_height INTEGER, -- from then on
    latest_at REAL -- the latest time that the block and its parts prove to have passed
) STRICT;

CREATE INDEX archived_by_client ON archived_blocks (client, state, latest_at);
CREATE INDEX archived_until ON archived_blocks (forget_after) WHERE forget_after IS NOT NULL;
CREATE INDEX archived_until_height ON archived_blocks (forget_at_height) WHERE forget_at_height IS NOT NULL;

CREATE TABLE archived_payments (
    client BLOB NOT NULL,
    payment_hash BLOB NOT NULL,
    unblock_hash BLOB NOT NULL,
    PRIMARY KEY (client, payment_hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE archived_htlcs (
    channel_id BLOB NOT NULL,
    htlc_id BLOB NOT NULL, -- 8 bytes, big endian
    payment_hash BLOB NOT NULL,
    peer BLOB NOT NULL,
    incoming_amount_msat INTEGER NOT NULL,
    outgoing_amount_msat INTEGER NOT NULL,
    incoming_expiry INTEGER NOT NULL,
    outgoing_expiry INTEGER NOT NULL,
    outgoing_channel TEXT, -- as block x transaction x output: aliases exceed 63 bits
    outgoing_node BLOB,
    block BLOB NOT NULL,
    offered_at REAL NOT NULL,
    resolution TEXT,
    preimage BLOB,
    outcome TEXT,
    gone INTEGER NOT NULL,
    PRIMARY KEY (channel_id, htlc_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX archived_parts ON archived_htlcs (block);

CREATE TABLE archived_attempts (
    payment_hash BLOB PRIMARY KEY,
    block BLOB NOT NULL,
    fee_limit_msat INTEGER NOT NULL,
    latest_expiry INTEGER NOT NULL,
    state TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX archived_attempts_of ON archived_attempts (block);
CREATE INDEX attempts_of ON attempts (block);
CREATE INDEX parts ON htlcs (block) WHERE block IS NOT NULL;
