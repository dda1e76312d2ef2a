-- How the times of this file and Unix time belong together, while they differ or are in doubt. See StoredClock.

CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    time REAL NOT NULL,
    believed_offset_seconds REAL NOT NULL,
    shown_offset_seconds REAL NOT NULL
) STRICT;
