-- name: deployments
-- Those behind id $1 that the bucket shows: current, and not ended for longer than $2 seconds.
SELECT {deployment}
FROM deployments
WHERE id > $1 AND current AND (ended_at IS NULL OR ended_at > now() - make_interval(secs => $2))
ORDER BY id
LIMIT $3;

-- name: former_vms
-- The same of VMs whose deployment was replaced: before the others, which may have their keys.
SELECT {v.vm}
FROM vms AS v JOIN deployments AS d ON d.id = v.deployment_id
WHERE v.id > $1 AND NOT d.current AND (v.ended_at IS NULL OR v.ended_at > now() - make_interval(secs => $2))
ORDER BY v.id
LIMIT $3;

-- name: vms
-- The same of VMs of current deployments.
SELECT {v.vm}
FROM vms AS v JOIN deployments AS d ON d.id = v.deployment_id
WHERE v.id > $1 AND d.current AND (v.ended_at IS NULL OR v.ended_at > now() - make_interval(secs => $2))
ORDER BY v.id
LIMIT $3;
