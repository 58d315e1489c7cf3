-- name: wal
-- Where the write-ahead log ends, in bytes, and how many pages it holds whole (each is once, after a checkpoint).
SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS bytes, wal_fpi AS whole_pages FROM pg_stat_wal;

-- name: syncs
-- How often it was forced to the disk, and for how long, by everybody.
SELECT coalesce(sum(fsyncs), 0)::bigint AS syncs, coalesce(sum(fsync_time), 0) / 1000 AS seconds
FROM pg_stat_io WHERE object = 'wal';

-- name: disk
-- Bytes of tables with their indexes: callbacks, ledger, and the states of what they are about.
SELECT
    coalesce(sum(bytes) FILTER (WHERE of = 'callbacks'), 0)::bigint AS callbacks,
    coalesce(sum(bytes) FILTER (WHERE of = 'transitions'), 0)::bigint AS ledger,
    coalesce(sum(bytes) FILTER (WHERE of NOT IN ('callbacks', 'transitions', 'outbox')), 0)::bigint AS states
FROM (
    SELECT coalesce(parent.relname, one.relname) AS of, pg_total_relation_size(one.oid) AS bytes
    FROM pg_class AS one
    LEFT JOIN pg_inherits AS i ON i.inhrelid = one.oid
    LEFT JOIN pg_class AS parent ON parent.oid = i.inhparent
    WHERE one.relkind = 'r' AND one.relnamespace = 'public'::regnamespace
) AS tables;

-- name: counts
-- How many callbacks, and entries of the ledger.
SELECT (SELECT count(*) FROM callbacks) AS callbacks, (SELECT count(*) FROM transitions) AS entries;
