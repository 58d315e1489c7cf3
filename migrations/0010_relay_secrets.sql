-- What only those who may read this table can know: the advisory lock that makes a receiver the relay, and the channel of
-- wake-ups. Whoever may merely connect to the database could else take the one, or use the other. A lock that is held
-- shows its key to everybody (pg_locks), so it is drawn anew when a stranger has taken it.
ALTER TABLE relay
    ADD COLUMN lock_key bigint NOT NULL DEFAULT hashtextextended(gen_random_uuid()::text, 0),
    ADD COLUMN channel text NOT NULL DEFAULT 'esc_receiver_' || replace(gen_random_uuid()::text, '-', '');
