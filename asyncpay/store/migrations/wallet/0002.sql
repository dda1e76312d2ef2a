-- Whether a claim's announcement proved to come from a holder of the invoices; nobody could prove it before this version.

ALTER TABLE claims ADD COLUMN proven INTEGER NOT NULL DEFAULT 0;
