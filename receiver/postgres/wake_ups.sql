-- name: wake
-- It need not outlive a crash, so nobody waits for the disk with PostgreSQL's lock in his hand.
SELECT set_config('synchronous_commit', 'off', true), pg_notify(channel, $1) FROM relay;
