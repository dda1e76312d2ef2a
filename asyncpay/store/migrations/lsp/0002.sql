-- HTLCs are kept by the id of their channel, because its short channel id may change, and their number takes 64 bits
-- without a sign. The names of this file's channels become 8-byte ids: on LND they are the ids; on Core Lightning
-- the LSP replaces them by the channels' ids when it attaches. The functions are those of asyncpay/store/database.py.

ALTER TABLE htlcs RENAME TO named_htlcs;

CREATE TABLE htlcs (
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
    block BLOB,
    offered_at REAL NOT NULL,
    verdict TEXT,
    preimage BLOB,
    outcome TEXT,
    gone INTEGER NOT NULL,
    PRIMARY KEY (channel_id, htlc_id)
) STRICT, WITHOUT ROWID;

INSERT INTO htlcs
SELECT channel_id(short_channel_id), u64(htlc_id), payment_hash, peer, incoming_amount_msat, outgoing_amount_msat,
    incoming_expiry, outgoing_expiry, outgoing_channel, outgoing_node, block, offered_at, verdict, preimage, outcome, gone
FROM named_htlcs;

DROP TABLE named_htlcs;
