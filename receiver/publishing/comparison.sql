-- name: page
-- The next rows that the stream should have, in the order of visibility: ledger entries behind ($1, $2), and callbacks
-- that were not understood behind ($3, $4). What joins them later, before the last of them, is not published yet either.
-- `stays`: its message cannot have left a stream that keeps each for $6 seconds.
SELECT id, xid::text::bigint AS xid, position, is_callback, $6 = 0 OR at > now() - make_interval(secs => $6) AS stays
FROM (
    (
        SELECT id, xid, position, false AS is_callback, at
        FROM transitions
        WHERE (xid, position) > ($1::bigint::text::xid8, $2::bigint)
        ORDER BY xid, position
        LIMIT $5
    )
    UNION ALL
    (
        SELECT receipt, xid, position, true, received_at
        FROM callbacks
        WHERE outcome IN ('malformed', 'unclassified')
          AND (xid, position) > ($3::bigint::text::xid8, $4::bigint)
        ORDER BY xid, position
        LIMIT $5
    )
) AS both_kinds
ORDER BY xid, position, is_callback
LIMIT $5;

-- name: span
-- From which transaction to which the rows of these ids were written; null where there are none.
SELECT min(xid) AS first, max(xid) AS last
FROM (
    SELECT xid::text::bigint AS xid FROM transitions WHERE id = ANY($1::uuid[])
    UNION ALL
    SELECT xid::text::bigint FROM callbacks WHERE receipt = ANY($1::uuid[])
) AS written;

-- name: end
-- A transaction id behind all rows that are visible.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint;

-- name: known
-- Those ids for which there is a row.
SELECT id FROM transitions WHERE id = ANY($1::uuid[])
UNION
SELECT receipt FROM callbacks WHERE receipt = ANY($1::uuid[])
UNION
SELECT id FROM outbox WHERE id = ANY($1::uuid[]);

-- name: waiting
-- Those ids that wait to be published.
SELECT id FROM outbox WHERE id = ANY($1::uuid[]);

-- name: database_id
-- The id by which the stream of this database is known.
SELECT database_id FROM relay;
