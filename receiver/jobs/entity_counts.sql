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
