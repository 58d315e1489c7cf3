-- name: told
-- What was counted last, and when.
SELECT counts::text, extract(epoch FROM counted_at)::float8 AS counted_at_s FROM state_counts;

-- name: claim
-- Take the next count upon oneself, unless another receiver has it in hand or was quicker.
SELECT true AS mine
FROM state_counts
WHERE counted_at IS NULL OR counted_at <= now() - $1::interval
FOR UPDATE SKIP LOCKED;

-- name: count
-- How many are in which state: of those that are not gone, by the indexes on their states (nearly) alone.
SELECT 'deployments' AS what, source AS one, state AS two, count(*)::float8 AS number
FROM deployments WHERE state = ANY($1::text[]) GROUP BY source, state
UNION ALL
SELECT 'vms', source, state, count(*) FROM vms WHERE state = ANY($2::text[]) GROUP BY source, state
UNION ALL
SELECT 'manual', source, '', count(*) FROM vms WHERE state = 'ERROR' AND needs_manual_recovery GROUP BY source
UNION ALL
SELECT 'operations', kind, state, count(*) FROM operations WHERE state = 'OPEN' GROUP BY kind, state
UNION ALL
SELECT 'operations', kind, state, count(*) FROM operations WHERE state = 'OVERDUE' GROUP BY kind, state
UNION ALL
SELECT 'out_of_service', source, '', (state = 'OUT_OF_SERVICE')::int FROM sources
UNION ALL
SELECT 'since', source, '', extract(epoch FROM changed_at) FROM sources
UNION ALL
SELECT 'heard', source, '', coalesce(extract(epoch FROM last_message_at), 0) FROM source_activity
UNION ALL
SELECT 'refused', source, '', refused FROM source_activity
UNION ALL
SELECT 'unacknowledged', source, '', count(*)
FROM (
    SELECT source FROM looked_at_callbacks
    WHERE outcome IN ('malformed', 'unclassified') AND acknowledged_at IS NULL
    ORDER BY xid DESC, position DESC
    LIMIT 100000
) AS dead
GROUP BY source
UNION ALL
SELECT 'oldest', '', '', coalesce(extract(epoch FROM (SELECT min(first_seen_at) FROM operations WHERE state = 'OPEN')), 0);

-- name: add_activity
-- What one receiver has heard of a source since its last round.
INSERT INTO source_activity AS known (source, last_message_at, refused, refused_at, refused_because) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (source) DO UPDATE
SET last_message_at = greatest(known.last_message_at, excluded.last_message_at),
    refused = known.refused + excluded.refused,
    refused_because = CASE WHEN excluded.refused_at >= coalesce(known.refused_at, '-infinity') THEN excluded.refused_because ELSE known.refused_because END,
    refused_at = greatest(known.refused_at, excluded.refused_at);

-- name: look
-- How old the last message of each source ($1) is now: one look. Not while it is older than $2, since when this
-- receiver listens: whether anything came before is not known.
INSERT INTO source_silences AS known (source, hour, class, looks)
SELECT source, date_trunc('hour', now()), ceil(ln(greatest(extract(epoch FROM now() - last_message_at), 1)) / ln(1.25)), 1
FROM source_activity
WHERE source = ANY($1::text[]) AND last_message_at >= $2
ON CONFLICT (source, hour, class) DO UPDATE SET looks = known.looks + 1;

-- name: silences
-- How long each source ($1) has been silent, and what is usual at this hour of the week: learned, but never less than $2, at
-- which looks are taken; else $3. One that says it is out of service is not missed.
SELECT a.source, greatest(extract(epoch FROM now() - a.last_message_at), 0)::float8 AS silent_s,
       CASE WHEN l.p99_s IS NULL THEN $3::float8 ELSE greatest(l.p99_s, $2::float8) END AS usual_s, s.state IS NOT DISTINCT FROM 'OUT_OF_SERVICE' AS is_out
FROM source_activity AS a
LEFT JOIN sources AS s ON s.source = a.source
LEFT JOIN learned_silences AS l ON l.source = a.source
    AND l.hour_of_week = ((extract(isodow FROM now() AT TIME ZONE 'UTC') - 1) * 24 + extract(hour FROM now() AT TIME ZONE 'UTC'))::smallint
WHERE a.source = ANY($1::text[]) AND a.last_message_at IS NOT NULL;

-- name: keep
-- For all receivers to read.
UPDATE state_counts SET counted_at = now(), counts = $1::text::json;

-- name: surroundings
-- The database's size, and from when to when there are partitions. One that is just being dropped has no bounds any more.
WITH bounds AS (
    SELECT inhparent::regclass::text AS parent,
           substring(pg_get_expr(relpartbound, oid) FROM 'FROM \(''([^'']+)''\)')::timestamptz AS begins_at,
           substring(pg_get_expr(relpartbound, oid) FROM 'TO \(''([^'']+)''\)')::timestamptz AS ends_at
    FROM pg_inherits JOIN pg_class ON oid = inhrelid
    WHERE inhparent IN ('callbacks'::regclass, 'transitions'::regclass)
)
SELECT 'bytes' AS what, '' AS of_what, pg_database_size(current_database())::float8 AS number
UNION ALL
SELECT 'begin', parent, extract(epoch FROM min(begins_at)) FROM bounds GROUP BY parent HAVING min(begins_at) IS NOT NULL
UNION ALL
SELECT 'end', parent, extract(epoch FROM max(ends_at)) FROM bounds GROUP BY parent HAVING max(ends_at) IS NOT NULL
UNION ALL
-- A base backup and a subscriber to changes are no standbys; a user without rights over others sees no state.
SELECT 'standbys', '', count(*) FROM pg_stat_replication AS sender
WHERE state IS DISTINCT FROM 'backup' AND NOT EXISTS (
    SELECT FROM pg_replication_slots WHERE active_pid = sender.pid AND slot_type = 'logical'
)
UNION ALL
SELECT 'synchronous', '', (current_setting('synchronous_standby_names') <> '')::int;
