-- Until when an order to pay that was lost sight of may still reach the node. Earlier versions did not reckon with any.

ALTER TABLE payments ADD COLUMN unsure_until REAL;
