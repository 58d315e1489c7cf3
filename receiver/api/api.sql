-- name: deployment
-- The current incarnation of a deployment, or the one given.
SELECT {deployment}
FROM deployments
WHERE source = $1 AND internal_deployment_id = $2 AND ($3::integer IS NULL OR incarnation = $3)
ORDER BY current DESC, incarnation DESC
LIMIT 1;

-- name: vms_of_a_deployment
-- The VMs of one incarnation.
SELECT {vm} FROM vms WHERE deployment_id = $1 ORDER BY vm_name LIMIT $2;

-- name: vm
-- The VM of this name that lives, else the one that changed last.
SELECT {vm}
FROM vms
WHERE source = $1 AND vm_name = $2 AND ($3::text IS NULL OR deployment = $3)
ORDER BY ended_at IS NULL DESC, changed_at DESC, id
LIMIT 1;

-- name: incarnations_of_a_vm
-- The VMs of this name in all incarnations of the deployment, latest first.
SELECT d.incarnation, v.id, v.state, v.first_seen_at, v.ended_at
FROM vms AS v JOIN deployments AS d ON d.id = v.deployment_id
WHERE v.source = $1 AND v.vm_name = $2 AND v.deployment = $3
ORDER BY d.incarnation DESC
LIMIT 50;

-- name: instances_of_vms
-- The instance ids of these VMs, latest first.
SELECT vm_id, vm_uuid, valid_from, valid_to FROM vm_aliases WHERE vm_id = ANY($1::uuid[]) ORDER BY valid_from DESC LIMIT 1000;

-- name: operations
-- Operations by the ids of their rows.
SELECT {operation} FROM operations WHERE id = ANY($1::uuid[]);

-- name: learned_durations
-- How long operations take.
SELECT source, kind, vms_max, samples, usual_s, p99_s, longest_s FROM learned_durations;

-- name: states_of_sources
-- What each ESC said of itself last.
SELECT source, state, changed_at FROM sources;

-- name: sources
-- What is known of sources: those that are configured ($1), those that once were and said something of themselves, and
-- the $3 last heard of under names that were not configured. Their operations under way are counted up to $2, so are the
-- latest dead letters that nobody has acknowledged. What silence is usual at this hour of the week was learned ($4: to no
-- less than that), or is $5.
WITH dead AS MATERIALIZED (
    SELECT source, received_at, 'unknown-source' = ANY(notes) AS is_unknown
    FROM looked_at_callbacks
    WHERE outcome IN ('malformed', 'unclassified') AND acknowledged_at IS NULL
    ORDER BY xid DESC, position DESC
    LIMIT $2
), quarantined AS (
    SELECT source, count(*) AS callbacks, max(received_at) AS latest_at, bool_or(is_unknown) AS is_unknown FROM dead GROUP BY source
), unknown AS (
    SELECT source, latest_at FROM quarantined WHERE is_unknown ORDER BY latest_at DESC LIMIT $3
)
SELECT name AS source, coalesce(s.state, 'UNSEEN') AS state, s.changed_at AS since, s.reason, coalesce(s.sequence, 0) AS sequence,
       name = ANY($1::text[]) AS configured, coalesce(a.last_message_at, u.latest_at) AS last_message_at,
       coalesce(d.callbacks, 0) AS quarantined, coalesce(a.refused, 0) AS refused, a.refused_at,
       a.refused_because,
       CASE WHEN l.p99_s IS NOT NULL THEN greatest(l.p99_s, $4::float8) END AS usual_silence_s,
       extract(epoch FROM now() - a.last_message_at)::float8
           / CASE WHEN l.p99_s IS NULL THEN $5::float8 ELSE greatest(l.p99_s, $4) END AS silence_ratio,
       r.reachable, r.asked_at, r.trouble, r.health, r.swept_at, coalesce(r.mended, 0) AS mended,
       coalesce(r.missing, 0) AS missing,
       (SELECT count(*) FROM (SELECT FROM operations AS o WHERE o.state = 'OPEN' AND o.source = name LIMIT $2) AS c) AS open_operations,
       (SELECT count(*) FROM (SELECT FROM operations AS o WHERE o.state = 'OVERDUE' AND o.source = name LIMIT $2) AS c) AS overdue_operations
FROM (SELECT unnest($1::text[]) UNION SELECT source FROM sources UNION SELECT source FROM unknown) AS named (name)
LEFT JOIN sources AS s ON s.source = name
LEFT JOIN quarantined AS d ON d.source = name
LEFT JOIN unknown AS u ON u.source = name
LEFT JOIN source_activity AS a ON a.source = name
LEFT JOIN learned_silences AS l ON l.source = name
    AND l.hour_of_week = ((extract(isodow FROM now() AT TIME ZONE 'UTC') - 1) * 24 + extract(hour FROM now() AT TIME ZONE 'UTC'))::smallint
LEFT JOIN reconciliations AS r ON r.source = name AND r.asked_at > '-infinity'
ORDER BY name;

-- name: callback
-- One callback. Its receipt holds the millisecond in which it was received, so that one partition is read.
SELECT {callback}, headers
FROM looked_at_callbacks
WHERE receipt = $1 AND received_at >= $2 AND received_at < $2 + interval '1 millisecond';

-- name: whole
-- One callback with all that it is read from, unless its body has more than $3 bytes.
SELECT receipt, received_at, source, channel, remote, ref, headers, body, redacted, notes
FROM callbacks
WHERE receipt = $1 AND received_at >= $2 AND received_at < $2 + interval '1 millisecond' AND octet_length(body) <= $3;

-- name: raw
-- The bytes of one callback, and whether they could be read.
SELECT body, outcome = 'malformed' AS unreadable FROM callbacks WHERE receipt = $1 AND received_at >= $2 AND received_at < $2 + interval '1 millisecond';

-- name: rows_of_a_deployment
-- The ids of all rows that belong to a deployment: its incarnations, their VMs, its operations and resources.
SELECT id FROM deployments WHERE internal_deployment_id = $1
UNION ALL
SELECT v.id FROM deployments AS d JOIN vms AS v ON v.deployment_id = d.id WHERE d.internal_deployment_id = $1
UNION ALL
SELECT id FROM operations WHERE deployment = $1
UNION ALL
SELECT id FROM resources WHERE deployment = $1;

-- name: counted_day
-- The last counted day that was over at a moment ($1), else the first one (migration 0022): of those since whose end all
-- entries are kept ($2: the first).
SELECT coalesce(
    (SELECT max(day) FROM counts_by_day WHERE day < ($1::timestamptz AT TIME ZONE 'UTC')::date AND day >= first_day),
    (SELECT min(day) FROM counts_by_day WHERE day >= first_day)
) AS day
FROM (SELECT ($2::timestamptz AT TIME ZONE 'UTC')::date - 1 AS first_day) AS kept;

-- name: counts_then
-- How many of each kind were in which state at a moment ($1): as many as at the end of a counted day ($2), with the moves
-- between, forward or back; back from now where no day was counted (null). What is in no state yet is not counted.
WITH base AS (
    SELECT entity, state, rows FROM counts_by_day WHERE day = $2::date
    UNION ALL
    SELECT 'deployment', state, count(*) FROM deployments WHERE $2::date IS NULL GROUP BY state
    UNION ALL
    SELECT 'vm', state, count(*) FROM vms WHERE $2::date IS NULL GROUP BY state
    UNION ALL
    SELECT 'operation', state, count(*) FROM operations WHERE $2::date IS NULL GROUP BY state
), moves AS (
    SELECT entity, from_state, to_state, count(*) AS rows
    FROM transitions
    WHERE at >= coalesce(($2::date + 1)::timestamp AT TIME ZONE 'UTC', 'infinity') AND at <= $1
        AND from_state <> to_state AND entity IN ('deployment', 'vm', 'operation')
    GROUP BY entity, from_state, to_state
    UNION ALL
    SELECT entity, from_state, to_state, -count(*)
    FROM transitions
    WHERE at > $1 AND at < coalesce(($2::date + 1)::timestamp AT TIME ZONE 'UTC', 'infinity')
        AND from_state <> to_state AND entity IN ('deployment', 'vm', 'operation')
    GROUP BY entity, from_state, to_state
)
SELECT entity || 's' AS kind, state, sum(rows)::bigint AS rows
FROM (
    SELECT entity, state, rows FROM base
    UNION ALL
    SELECT entity, to_state, rows FROM moves
    UNION ALL
    SELECT entity, from_state, -rows FROM moves
) AS counted
WHERE state <> 'UNSEEN'
GROUP BY entity, state
HAVING sum(rows) > 0
ORDER BY kind, state;

-- name: ledger_kept_since
-- When the oldest partition of the ledger begins: all entries since then are kept. One just dropped has no bounds any more.
SELECT min(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''([^'']+)''\)')::timestamptz) AS since
FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid
WHERE inhparent = 'transitions'::regclass;

-- name: reached
-- How far transaction ids have come, and the highest known to be older than a time.
SELECT pg_snapshot_xmax(pg_current_snapshot()) AS xid,
       (SELECT xid FROM order_marks WHERE at <= $1::timestamptz ORDER BY minute DESC LIMIT 1) AS mark;

-- name: vm_with_history
-- The same VM, with its last ledger entries, latest first: of one moment, and in one round trip.
SELECT {vm}, ARRAY(
    SELECT ROW({t.ledger_row})::ledger_row FROM transitions AS t WHERE t.entity_id = v.id ORDER BY t.sequence DESC LIMIT $4
) AS history
FROM vms AS v
WHERE source = $1 AND vm_name = $2 AND ($3::text IS NULL OR deployment = $3)
ORDER BY ended_at IS NULL DESC, changed_at DESC, id
LIMIT 1;

-- name: changes
-- The last changes of state of an entity as of one of its sequence numbers, latest first.
SELECT {transition}
FROM transitions
WHERE entity_id = $1 AND sequence <= $2 AND from_state <> to_state
ORDER BY sequence DESC
LIMIT 2;

-- name: beside_a_change
-- The operation of a ledger entry, and whether its message still waits to be published: how many rows of the outbox were
-- scanned, and whether it is among them.
SELECT (SELECT ROW({o.operation_row})::operation_row FROM operations AS o WHERE o.id = $1) AS operation,
       count(*) AS scanned, coalesce(bool_or(id = $2), false) AS waits
FROM (SELECT id FROM outbox ORDER BY position LIMIT $3) AS first_rows;

-- name: count_by_state
-- How many of each kind are in which state, each counted up to $1.
WITH RECURSIVE
deployment_states AS (
    (SELECT state FROM deployments ORDER BY state LIMIT 1)
    UNION ALL
    SELECT (SELECT state FROM deployments AS d WHERE d.state > s.state ORDER BY state LIMIT 1)
    FROM deployment_states AS s WHERE s.state IS NOT NULL
), vm_states AS (
    (SELECT state FROM vms ORDER BY state LIMIT 1)
    UNION ALL
    SELECT (SELECT state FROM vms AS v WHERE v.state > s.state ORDER BY state LIMIT 1)
    FROM vm_states AS s WHERE s.state IS NOT NULL
), operation_states AS (
    (SELECT state FROM operations ORDER BY state LIMIT 1)
    UNION ALL
    SELECT (SELECT state FROM operations AS o WHERE o.state > s.state ORDER BY state LIMIT 1)
    FROM operation_states AS s WHERE s.state IS NOT NULL
)
SELECT 'deployments' AS kind, state, (SELECT count(*) FROM (SELECT FROM deployments AS d WHERE d.state = s.state LIMIT $1) AS c) AS rows
FROM deployment_states AS s WHERE state IS NOT NULL
UNION ALL
SELECT 'vms', state, (SELECT count(*) FROM (SELECT FROM vms AS v WHERE v.state = s.state LIMIT $1) AS c)
FROM vm_states AS s WHERE state IS NOT NULL
UNION ALL
SELECT 'operations', state, (SELECT count(*) FROM (SELECT FROM operations AS o WHERE o.state = s.state LIMIT $1) AS c)
FROM operation_states AS s WHERE state IS NOT NULL;

-- name: resources_by_state
-- The same of resources, which are few, each kind apart.
SELECT kind, state, count(*) AS rows FROM (SELECT kind, state FROM resources LIMIT $1) AS counted GROUP BY kind, state;

-- name: quarantine
-- How many callbacks of the last day are in quarantine (dead letters), counted up to $2, and when the latest came.
SELECT count(*) AS rows, max(received_at) AS latest_at
FROM (
    SELECT received_at FROM callbacks
    WHERE outcome IN ('malformed', 'unclassified') AND received_at >= $1
    ORDER BY xid DESC, position DESC
    LIMIT $2
) AS counted;

-- name: unacknowledged
-- How many dead letters nobody has acknowledged, counted up to $1.
SELECT count(*) AS rows
FROM (
    SELECT FROM looked_at_callbacks
    WHERE outcome IN ('malformed', 'unclassified') AND acknowledged_at IS NULL
    ORDER BY xid DESC, position DESC
    LIMIT $1
) AS counted;

-- name: dead_letter_groups
-- The latest $1 dead letters, of a source ($2), outcomes ($3) and whether they are acknowledged ($4), by source and why.
SELECT source, outcome, rule, reason, count(*) AS callbacks, count(*) FILTER (WHERE acknowledged_at IS NULL) AS unacknowledged,
       min(received_at) AS first_at, max(received_at) AS latest_at,
       (array_agg(receipt ORDER BY received_at DESC))[1] AS latest_receipt
FROM (
    SELECT source, outcome, rule, reason_without_place(reason) AS reason, received_at, receipt, acknowledged_at
    FROM looked_at_callbacks
    WHERE outcome IN ('malformed', 'unclassified') AND source = coalesce($2::text, source)
        AND (cardinality($3::text[]) = 0 OR outcome = ANY($3::text[]))
        AND ($4::boolean IS NULL OR (acknowledged_at IS NOT NULL) = $4::boolean)
    ORDER BY xid DESC, position DESC
    LIMIT $1
) AS latest
GROUP BY source, outcome, rule, reason
ORDER BY unacknowledged DESC, latest_at DESC
LIMIT $5;

-- name: backlog
-- How many messages wait to be published, counted up to $1, and since when the oldest waits.
SELECT count(*) AS rows, min(at) AS oldest_at FROM (SELECT at FROM outbox ORDER BY position LIMIT $1) AS counted;

-- name: channel
-- Where wake-ups are told.
SELECT channel FROM relay;

-- name: latest
-- The latest ledger entry that can be shown, and the oldest transaction that holds back what follows.
SELECT xid, position, at
FROM transitions
WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xid DESC, position DESC
LIMIT 1;

-- name: after
-- Ledger entries after a position. Those that are settled can be shown: nothing can appear before them any more.
SELECT {transition}, xid < pg_snapshot_xmin(pg_current_snapshot()) AS settled
FROM transitions
WHERE (xid, position) > ($1::xid8, $2::bigint)
ORDER BY xid, position
LIMIT $3;

-- name: make_mark
-- Remember, once a minute, which transaction id had not been given out by now.
INSERT INTO order_marks (minute, at, xid)
SELECT date_trunc('minute', clock_timestamp()), clock_timestamp(), pg_snapshot_xmax(pg_current_snapshot())
ON CONFLICT (minute) DO NOTHING;

-- name: drop_marks
-- Forget the marks of what is not kept any more.
DELETE FROM order_marks WHERE minute < now() - $1::interval;

-- name: restored
-- Whether rows bear transaction ids that this server has not given out: they were restored from a dump of another one.
SELECT EXISTS (SELECT FROM transitions WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()))
    OR EXISTS (SELECT FROM callbacks WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()));

-- name: renumber_transitions
-- After a restore all that was there comes first, in the order of its serial numbers.
UPDATE transitions SET xid = '3' WHERE xid <> '3';

-- name: renumber_callbacks
-- The same.
UPDATE callbacks SET xid = '3' WHERE xid <> '3';

-- name: forget_marks
-- They hold transaction ids of another server.
DELETE FROM order_marks;

-- name: ping
-- Whether the connection still works.
SELECT 1;
