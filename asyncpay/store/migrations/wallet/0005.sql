-- The names of fields: the state of a payment, and of a claim.

ALTER TABLE payments RENAME COLUMN stage TO state;
ALTER TABLE claims RENAME COLUMN stage TO state;
