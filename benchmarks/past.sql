-- name: fill
-- So many ledger entries, 0.6 of VMs, 0.1 of deployments and 0.3 of operations, over $2 days, each chain as the
-- receiver would have written it; and the rows of the present that they end in. A VM has ten entries, a deployment too,
-- an operation three.
CREATE TEMPORARY TABLE chains AS
SELECT kind, n, entries, md5(kind || n)::uuid AS id, now() - $2 * interval '1 day' * (0.05 + 0.95 * random()) AS begins_at
FROM (
    SELECT 'vm' AS kind, n, 10 AS entries FROM generate_series(0, $1 * 6 / 100 - 1) AS n
    UNION ALL SELECT 'deployment', n, 10 FROM generate_series(0, $1 / 100 - 1) AS n
    UNION ALL SELECT 'operation', n, 3 FROM generate_series(0, $1 / 10 - 1) AS n
) AS counted;

CREATE TEMPORARY TABLE entries AS
SELECT kind, n, id, k, entries,
       CASE WHEN kind = 'operation' THEN begins_at + k * interval '40 seconds'
            ELSE begins_at + (now() - begins_at) * (k - 1) / entries * (0.9 + 0.1 * random()) END AS at,
       (CASE kind
            WHEN 'vm' THEN ARRAY['UNSEEN', 'DEPLOYING', 'INERT', 'ALIVE', 'RECOVERING', 'ALIVE', 'STOPPING', 'STOPPED', 'ALIVE', 'ERROR', 'ALIVE']
            WHEN 'deployment' THEN ARRAY['UNSEEN', 'DEPLOYING', 'INERT', 'ACTIVE', 'STOPPING', 'STOPPED', 'STARTING', 'ACTIVE', 'ERROR', 'ACTIVE', 'ACTIVE']
            ELSE ARRAY['UNSEEN', 'OPEN', 'OVERDUE', 'SUCCEEDED'] END)[k : k + 1] AS states
FROM chains, generate_series(1, entries) AS k;

INSERT INTO transitions (id, at, entity, entity_id, source, tenant, deployment, incarnation, name, sequence, from_state, to_state,
    change, trigger, rule, reason, operation)
SELECT gen_random_uuid(), at, kind, id, 'lab' || n % 3, 'tenant-' || n % 50, 'dep-' || CASE kind WHEN 'vm' THEN n / 6 ELSE n % ($1 / 100) END,
       1, kind || '-' || n, k, states[1], states[2], lower(states[2]), 'VM_ALIVE', 'vm-alive', 'its monitor has reached it', 'tx-' || n
FROM entries ORDER BY at;

INSERT INTO deployments (id, source, internal_deployment_id, incarnation, current, state, first_seen_at, changed_at, deployment_name,
    tenant, degraded, vim_leak_suspected, vms, extra, sequence, memory)
SELECT id, 'lab' || n % 3, 'dep-' || n, 1, true, max(states[2]) FILTER (WHERE k = entries), min(at), max(at), 'name-' || n,
       'tenant-' || n % 50, false, false, '{}', '{}', max(k), '{}'
FROM entries WHERE kind = 'deployment' GROUP BY id, n;

INSERT INTO vms (id, source, deployment_id, deployment, tenant, vm_name, state, first_seen_at, changed_at, vm_group, vm_uuid,
    interfaces, recovery_open, needs_manual_recovery, extra, sequence, memory)
SELECT id, 'lab' || n / 6 % 3, md5('deployment' || n / 6)::uuid, 'dep-' || n / 6, 'tenant-' || n / 6 % 50, 'vm-' || n,
       max(states[2]) FILTER (WHERE k = entries), min(at), max(at), 'group', md5('uuid' || n), '[]', false, false, '{}', max(k), '{}'
FROM entries WHERE kind = 'vm' GROUP BY id, n;

INSERT INTO operations (id, source, transaction_id, kind, state, first_seen_at, last_seen_at, ended_at, revised, tenant, deployment,
    vms_seen, vms_deployed, vms_alive, vms_failed, sequence, memory)
SELECT id, 'lab' || n % 3, 'tx-' || n, 'deploy', 'SUCCEEDED', min(at), max(at), max(at), false, 'tenant-' || n % 50,
       'dep-' || n % ($1 / 100), 1, 1, 1, 0, 3, '{}'
FROM entries WHERE kind = 'operation' GROUP BY id, n;
DROP TABLE chains, entries;
