-- name: clock
-- What PostgreSQL takes for the time.
SELECT clock_timestamp();

-- name: live
-- The deployments of a source that are not gone.
SELECT internal_deployment_id FROM deployments WHERE source = $1 AND current AND state <> 'UNDEPLOYED';

-- name: asked_about
-- The deployments that operations of a source which have not ended are about.
SELECT DISTINCT deployment FROM operations
WHERE source = $1 AND state = ANY(ARRAY['OPEN', 'OVERDUE']) AND deployment IS NOT NULL;

-- name: operations
-- Operations about these deployments that have not ended.
SELECT {operation} FROM operations
WHERE deployment = ANY($2::text[]) AND source = $1 AND state = ANY(ARRAY['OPEN', 'OVERDUE']);

-- name: lock_operations
-- The same, locked in key order, before any deployment.
SELECT {operation} FROM operations
WHERE deployment = ANY($2::text[]) AND source = $1 AND state = ANY(ARRAY['OPEN', 'OVERDUE'])
ORDER BY id
FOR UPDATE;

-- name: deployments
-- Their current incarnations.
SELECT {deployment} FROM deployments WHERE source = $1 AND internal_deployment_id = ANY($2::text[]) AND current;

-- name: lock_deployments
-- The same, locked in key order. Their lock covers their VMs too.
SELECT {deployment} FROM deployments WHERE source = $1 AND internal_deployment_id = ANY($2::text[]) AND current
ORDER BY id
FOR UPDATE;

-- name: vms
-- All VMs of these.
SELECT {vm} FROM vms WHERE deployment_id = ANY($1::uuid[]);

-- name: sequence_floor
-- No entry made now has this number or a lower one.
SELECT sequence_floor FROM relay;

-- name: lease
-- Let this one ($2) ask the source for so long, unless another one does; and how it was asked last.
INSERT INTO reconciliations AS r (source, leased_by, leased_until) VALUES ($1, $2, clock_timestamp() + $3::interval)
ON CONFLICT (source) DO UPDATE SET leased_by = excluded.leased_by, leased_until = excluded.leased_until
WHERE r.leased_until < clock_timestamp() OR r.leased_by = excluded.leased_by
RETURNING swept_at, clock_timestamp() AS now;

-- name: release
-- Somebody else may ask it.
UPDATE reconciliations SET leased_until = '-infinity' WHERE source = $1 AND leased_by = $2;

-- name: asked
-- It was asked: whether it answered ($2), if not why ($3), and what it reports of its health ($4).
UPDATE reconciliations SET asked_at = clock_timestamp(), reachable = $2, trouble = $3, health = coalesce($4, health)
WHERE source = $1;

-- name: swept
-- All of it was asked for: how many deployments it has, what that mended, and how many it lacks that are not believed gone.
UPDATE reconciliations SET swept_at = clock_timestamp(), deployments = $2, mended = $3, missing = $4 WHERE source = $1;
