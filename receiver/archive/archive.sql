-- name: database_id
-- The id by which an archive is known to be this database's.
SELECT database_id::text FROM relay;

-- name: floors
-- Above which numbers entries went on, each time that this database had gone back in time (docs/epoch.md).
SELECT sequence_floor FROM epochs ORDER BY number;

-- name: bound
-- No entry whose transaction id is below this one becomes visible any more.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- name: place
-- Where an entry stands in the order of visibility; no row where the ledger does not have it.
SELECT xid::text::bigint AS xid, position FROM transitions WHERE id = $1::uuid;

-- name: page
-- The next entries in the order of visibility, behind ($1, $2) and below the bound $3; at most $4.
SELECT {transition}, xid::text::bigint AS xid, position
FROM transitions
WHERE (xid, position) > ($1::bigint::text::xid8, $2::bigint) AND xid < $3::bigint::text::xid8
ORDER BY xid, position
LIMIT $4;

-- name: estimate
-- About how many entries there are.
SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'transitions'::regclass;

-- name: post
-- A message for the relay, and a hint to it that there is one.
WITH posted AS (
    INSERT INTO outbox (id, at, subject, headers, payload, kv_key, kv_ended)
    VALUES ($1, $2, $3, $4::text::json, $5::text::json, $6, $7)
)
SELECT pg_notify(channel, '') FROM relay;

-- name: months
-- The first days of the months of which the ledger still has entries.
SELECT DISTINCT date_trunc('month', at AT TIME ZONE 'UTC')::date::text AS month FROM transitions;
