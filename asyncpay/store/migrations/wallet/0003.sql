-- Whether the node was told to pay. Of what earlier versions stored nobody knows, so it counts as told.

ALTER TABLE payments ADD COLUMN begun INTEGER NOT NULL DEFAULT 1;
