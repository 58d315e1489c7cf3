-- name: silent_operations
-- Open operations of which nothing was heard since a time that depends on their kind, and on their source where it is
-- known how long they take there, locked: at most $6. Those that another receiver has in hand are passed over: it judges
-- them. None is as young as $5, so the index is enough. While an ESC says that it is out of service its silence says
-- nothing; when it is back, silence begins anew.
WITH silent AS MATERIALIZED (
    SELECT source, kind, since FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS given (source, kind, since)
)
SELECT {o.operation}
FROM operations AS o
LEFT JOIN silent AS usual ON usual.source = '' AND usual.kind = o.kind
LEFT JOIN silent AS learned ON learned.source = o.source AND learned.kind = o.kind
LEFT JOIN sources AS s ON s.source = o.source
WHERE o.state = 'OPEN' AND o.first_seen_at < $5
    AND greatest(o.last_seen_at, s.changed_at) < coalesce(learned.since, usual.since, $4)
    AND s.state IS DISTINCT FROM 'OUT_OF_SERVICE'
ORDER BY o.first_seen_at
LIMIT $6
FOR UPDATE OF o SKIP LOCKED;

-- name: vms_left
-- Of each of these operations, VMs that it spoke of and that are in any of the states $2: at most $3 of one operation.
SELECT o.id AS operation_id, {left_vms.vm}
FROM operations AS o
JOIN deployments AS d ON d.source = o.source AND d.internal_deployment_id = o.deployment AND d.current
CROSS JOIN LATERAL (
    SELECT {v.vm}
    FROM vms AS v
    WHERE v.deployment_id = d.id AND v.state = ANY($2::text[]) AND NOT (v.state = 'INERT' AND v.monitored IS FALSE)
        AND v.memory -> 'tracks' -> o.transaction_id IS NOT NULL
    ORDER BY v.vm_name
    LIMIT $3
) AS left_vms
WHERE o.id = ANY($1::uuid[]);

-- name: sequence_floor
-- No entry made now has this number or a lower one.
SELECT sequence_floor FROM relay;

-- name: clock
-- What PostgreSQL takes for the time.
SELECT clock_timestamp();

-- name: overdue
-- How many operations are overdue now.
SELECT count(*) FROM operations WHERE state = 'OVERDUE';
