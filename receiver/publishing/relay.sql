-- name: elect
-- Take the relay's lock, if it is free. Tried again and again rather than waited for: a waiting statement holds a
-- snapshot, and with it keeps vacuum from clearing up after the outbox.
SELECT pg_try_advisory_lock($1);

-- name: ask
-- Ask the relay to leave.
SELECT pg_notify($1, '');

-- name: wait
-- Take the relay's lock as soon as it is free, before all who only try.
SELECT pg_advisory_lock($1);

-- name: ping
-- Show that the session is in use.
SELECT;

-- name: progress
-- How far the stream is known to be acknowledged and marked, which stream that is, and which message stands there; null
-- where that was not noted, as by an earlier release.
SELECT stream, stream_sequence,
       CASE WHEN message_sequence = stream_sequence THEN message_id END AS message_id,
       database_id::text AS database_id
FROM relay;

-- name: adopt
-- Remember the stream before anything is published to it, unless one is remembered already. Unlike a mark, it must
-- outlive a crash of PostgreSQL: else the stream would be adopted again where it ends then, and its tail not be read.
UPDATE relay SET stream = $1, stream_sequence = $2, marked_at = now()
FROM set_config('synchronous_commit', 'on', true)
WHERE stream = '';

-- name: rename
-- The same stream, by another time of creation.
UPDATE relay SET stream = $1;

-- name: fall_back
-- The stream has lost what it had acknowledged behind this message, and it waits to be published again.
UPDATE relay SET stream = $1, stream_sequence = $2, message_sequence = $2, message_id = $3, marked_at = now()
FROM set_config('synchronous_commit', 'on', true);

-- name: known
-- Those ids for which there is a row.
SELECT id FROM transitions WHERE id = ANY($1::uuid[])
UNION
SELECT receipt FROM callbacks WHERE receipt = ANY($1::uuid[])
UNION
SELECT id FROM outbox WHERE id = ANY($1::uuid[]);

-- name: next_rows
-- The first rows of the outbox: at most $1 of them, and no more once they are larger than $2 bytes together.
SELECT position, at, subject, headers, payload, kv_key, kv_ended
FROM (
    SELECT position, at, subject, headers, payload, kv_key, kv_ended,
           sum(octet_length(payload)) OVER (ORDER BY position) - octet_length(payload) AS bytes_before
    FROM (
        SELECT position, at, subject, headers::text AS headers, payload::text AS payload, kv_key, kv_ended
        FROM outbox
        ORDER BY position
        LIMIT $1
    ) AS first_rows
) AS measured
WHERE bytes_before < $2
ORDER BY position;

-- name: rows_of_ids
-- Rows that were published, as the stream's tail shows, but are still in the outbox.
SELECT position, id, at, subject, headers::text AS headers, payload::text AS payload, kv_key, kv_ended
FROM outbox
WHERE id = ANY($1::uuid[])
ORDER BY position;

-- name: mark
-- Take rows out of the outbox and remember how far the stream is acknowledged, unless another stream is remembered:
-- what a former stream acknowledged is not in the present one. A position that was passed is never gone back to.
WITH told AS (
    UPDATE relay
    SET stream_sequence = greatest(stream_sequence, $2), marked_at = now(),
        message_sequence = CASE WHEN $2 >= stream_sequence THEN $2 ELSE message_sequence END,
        message_id = CASE WHEN $2 >= stream_sequence THEN $4 ELSE message_id END
    WHERE stream = $3
    RETURNING true AS same
), gone AS (
    DELETE FROM outbox USING told WHERE position = ANY($1::bigint[])
)
SELECT same FROM told;

-- name: backlog
-- How much waits, cheaply: positions are dense, so a long outbox is not counted; and since when.
SELECT
    CASE
        WHEN last.position - first.position < $1 THEN (SELECT count(*) FROM outbox)
        ELSE last.position - first.position + 1
    END AS messages,
    first.at AS oldest_at
FROM (SELECT position, at FROM outbox ORDER BY position LIMIT 1) AS first,
     (SELECT position FROM outbox ORDER BY position DESC LIMIT 1) AS last;
