-- The names of fields: the state of a block, and the resolution of an HTLC.

ALTER TABLE blocks RENAME COLUMN stage TO state;
ALTER TABLE htlcs RENAME COLUMN verdict TO resolution;
