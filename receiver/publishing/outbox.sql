-- name: elect
-- Take the relay's lock, if it is free; and then that of the release before ($1). Tried again and again rather than
-- waited for: a waiting statement holds a snapshot, and with it keeps vacuum from clearing up after the outbox.
SELECT lock_key, ours, CASE WHEN ours THEN pg_try_advisory_lock($1) END AS former
FROM (SELECT lock_key, pg_try_advisory_lock(lock_key) AS ours FROM relay OFFSET 0) AS tried;

-- name: holder
-- Who has an advisory lock, and whether he may write here at all; else he is a stranger, and no relay.
SELECT a.pid, a.usename, a.application_name, has_table_privilege(a.usesysid, 'relay', 'UPDATE') AS trusted
FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND a.datname = current_database()
    AND l.database = a.datid AND (l.classid::bigint << 32) | l.objid::bigint = $1;

-- name: is_waited_for
-- Whether somebody who may write here stands in line for the relay's lock: then the relay is to leave.
SELECT EXISTS (
    SELECT FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid, relay
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND NOT l.granted AND l.database = a.datid
        AND (l.classid::bigint << 32) | l.objid::bigint = relay.lock_key
        AND has_table_privilege(a.usesysid, 'relay', 'UPDATE')
);

-- name: other_lock
-- Draw another lock, because a stranger has this one.
UPDATE relay SET lock_key = DEFAULT WHERE lock_key = $1;

-- name: channel
-- Where wake-ups are told.
SELECT channel FROM relay;

-- name: ask
-- Hint to the relay that it is waited for.
SELECT pg_notify(channel, $1) FROM relay;

-- name: wait
-- Take the relay's lock as soon as it is free, before all who only try; and that of the release before.
SELECT pg_advisory_lock(lock_key), pg_advisory_lock($1) FROM relay;

-- name: ping
-- Show that the session is in use.
SELECT;

-- name: progress
-- How far the stream is known to be acknowledged and marked, which stream that is, and which message stands there; null
-- where that was not noted, as by an earlier release.
SELECT stream, stream_sequence,
       CASE WHEN message_sequence = stream_sequence THEN message_id END AS message_id,
       database_id::text AS database_id, bucket_sequence
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

-- name: refilled
-- The bucket has everything again, and is acknowledged up to here.
UPDATE relay SET bucket_sequence = $1
FROM set_config('synchronous_commit', 'on', true);

-- name: known
-- Those ids for which there is a row.
SELECT id FROM transitions WHERE id = ANY($1::uuid[])
UNION
SELECT receipt FROM callbacks WHERE receipt = ANY($1::uuid[])
UNION
SELECT id FROM outbox WHERE id = ANY($1::uuid[]);

-- name: known_sources
-- Those ESCs of which this database knows anything.
SELECT source
FROM unnest($1::text[]) AS asked (source)
WHERE EXISTS (SELECT FROM operations AS o WHERE o.source = asked.source)
   OR EXISTS (SELECT FROM deployments AS d WHERE d.source = asked.source);

-- name: next_rows
-- The first rows of the outbox: at most $1 of them, and no more once they are larger than $2 bytes together.
SELECT position, id, at, subject, headers, payload, kv_key, kv_ended
FROM (
    SELECT position, id, at, subject, headers, payload, kv_key, kv_ended,
           sum(octet_length(payload)) OVER (ORDER BY position) - octet_length(payload) AS bytes_before
    FROM (
        SELECT position, id, at, subject, headers::text AS headers, payload::text AS payload, kv_key, kv_ended
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
    SET stream_sequence = greatest(stream_sequence, $2), marked_at = now(), bucket_sequence = $5,
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
