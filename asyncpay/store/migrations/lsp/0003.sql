-- The names of records: a message that waits for its client, and a client's notifications by one method.

ALTER TABLE letters RENAME TO stored_messages;
ALTER TABLE stored_messages RENAME COLUMN letter_id TO message_id;
ALTER TABLE delivered RENAME COLUMN letter_id TO message_id;
ALTER TABLE calls RENAME TO push_attempts;
