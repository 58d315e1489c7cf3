-- name: lock_operations
-- The operations of a batch, locked in key order so that two receivers never wait for each other in a circle.
SELECT {operation} FROM operations WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE;

-- name: lock_deployments
-- The current incarnations of a batch's deployments. Their lock covers their VMs too.
SELECT {d.deployment}
FROM unnest($1::text[], $2::text[]) AS wanted (source, internal_deployment_id)
JOIN deployments AS d USING (source, internal_deployment_id)
WHERE d.current
ORDER BY d.id
FOR UPDATE OF d;

-- name: look_up
-- The deployments that messages call by external id, or by tenant and name: the id first, and then what is current.
SELECT wanted.number, found.internal_deployment_id
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS wanted (source, external_id, tenant, name, number)
CROSS JOIN LATERAL (
    SELECT internal_deployment_id, 0 AS place
    FROM deployments AS d
    WHERE d.external_deployment_id = wanted.external_id AND d.source = wanted.source
    UNION ALL
    SELECT internal_deployment_id, 1
    FROM deployments AS d
    WHERE d.tenant = wanted.tenant AND d.source = wanted.source AND d.deployment_name = wanted.name AND d.current
    ORDER BY place, internal_deployment_id
    LIMIT 1
) AS found;

-- name: lock_resources
-- The resources of a batch.
SELECT {resource} FROM resources WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE;

-- name: lock_sources
-- What ESCs said of themselves, locked last of all.
SELECT {source} FROM sources WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE;

-- name: add_sources
-- An ESC that says something of itself for the first time.
INSERT INTO sources ({source}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: change_sources
-- One that says something new.
UPDATE sources SET state = $3, changed_at = $5, reason = $6, sequence = $7, memory = $8
WHERE id = $1 AND source = $2 AND first_seen_at = $4;

-- name: vms
-- The VMs a batch names, and all of the deployments that it says are gone.
SELECT {vm} FROM vms WHERE id = ANY($1::uuid[])
UNION ALL
SELECT {vm} FROM vms WHERE deployment_id = ANY($2::uuid[]) AND NOT (id = ANY($1::uuid[]));

-- name: vms_by_instance
-- The VMs that messages name only by an instance id of the VIM.
SELECT {v.vm}
FROM unnest($1::text[], $2::text[]) AS wanted (source, vm_uuid)
JOIN vm_aliases USING (source, vm_uuid)
JOIN vms AS v ON v.id = vm_aliases.vm_id;

-- name: find_stored
-- What became of callbacks that an earlier attempt may have committed before its connection broke.
SELECT receipt, outcome, rule, reason
FROM callbacks
WHERE receipt = ANY($1::uuid[]) AND received_at BETWEEN $2 AND $3;

-- name: barrier
-- A commit that writes, and so waits for whatever a commit has to wait for.
SELECT pg_logical_emit_message(true, 'esc-receiver', 'barrier'), set_config('synchronous_commit', 'on', true);

-- name: write_nothing
-- Waits for the lock that a batch would need.
INSERT INTO callbacks (receipt) SELECT NULL::uuid WHERE false;

-- name: write
-- All of one batch: callbacks, state, ledger, outbox. New rows are inserted and never merged, so that a row which another
-- receiver made meanwhile fails the batch, which is then judged again. The commit itself asks to be durable: whatever the
-- session has been told, or was not told because somebody on the way dropped it, a 200 is sent only for what is fsynced.
-- Whoever declares an epoch waits until all who have read the floor here are done; they see it from then on.
WITH kept AS (
    INSERT INTO callbacks
        (receipt, received_at, source, channel, remote, ref, headers, body, redacted, transaction_id, status_code,
         status_message, family, trigger, deployment, vm_name, outcome, rule, reason, notes)
    SELECT
         receipt, received_at, source, channel, remote, ref, headers, body, redacted, transaction_id, status_code,
         status_message, family, trigger, deployment, vm_name, outcome, rule, reason, notes
    FROM unnest($1::callback_row[])
), new_operations AS (
    INSERT INTO operations ({operation}) SELECT {operation} FROM unnest($2::operation_row[])
), old_operations AS (
    UPDATE operations AS o
    SET (kind, state, first_seen_at, last_seen_at, ended_at, revised, tenant, deployment, ref,
         vms_seen, vms_deployed, vms_alive, vms_failed, status_code, status_message, sequence, memory)
      = (n.kind, n.state, n.first_seen_at, n.last_seen_at, n.ended_at, n.revised, n.tenant, n.deployment, n.ref,
         n.vms_seen, n.vms_deployed, n.vms_alive, n.vms_failed, n.status_code, n.status_message, n.sequence, n.memory)
    FROM unnest($3::operation_row[]) AS n WHERE o.id = n.id
), old_deployments AS (
    UPDATE deployments AS d
    SET (current, state, changed_at, ended_at, external_deployment_id, deployment_name, tenant, external_tenant_id,
         reported_state, degraded, vim_leak_suspected, conflicting_external_id, last_operation, vms, extra, sequence, memory)
      = (n.current, n.state, n.changed_at, n.ended_at, n.external_deployment_id, n.deployment_name, n.tenant, n.external_tenant_id,
         n.reported_state, n.degraded, n.vim_leak_suspected, n.conflicting_external_id, n.last_operation, n.vms, n.extra, n.sequence, n.memory)
    FROM unnest($5::deployment_row[]) AS n WHERE d.id = n.id
), new_deployments AS (
    INSERT INTO deployments ({deployment}) SELECT {deployment} FROM unnest($4::deployment_row[])
), new_vms AS (
    INSERT INTO vms ({vm}) SELECT {vm} FROM unnest($6::vm_row[])
), old_vms AS (
    UPDATE vms AS v
    SET (tenant, state, changed_at, ended_at, vm_group, vm_uuid, host_uuid, host_name, interfaces, reported_state, monitored,
         recovery_open, needs_manual_recovery, last_operation, extra, sequence, memory)
      = (n.tenant, n.state, n.changed_at, n.ended_at, n.vm_group, n.vm_uuid, n.host_uuid, n.host_name, n.interfaces, n.reported_state, n.monitored,
         n.recovery_open, n.needs_manual_recovery, n.last_operation, n.extra, n.sequence, n.memory)
    FROM unnest($7::vm_row[]) AS n WHERE v.id = n.id
), new_resources AS (
    INSERT INTO resources ({resource}) SELECT {resource} FROM unnest($8::resource_row[])
), old_resources AS (
    UPDATE resources AS r
    SET (state, changed_at, ended_at, external_id, name, tenant, deployment, attributes, sequence, memory)
      = (n.state, n.changed_at, n.ended_at, n.external_id, n.name, n.tenant, n.deployment, n.attributes, n.sequence, n.memory)
    FROM unnest($9::resource_row[]) AS n WHERE r.id = n.id
), aliases AS (
    INSERT INTO vm_aliases ({alias}) SELECT {alias} FROM unnest($10::alias_row[])
    ON CONFLICT (source, vm_uuid, vm_id) DO UPDATE SET valid_to = excluded.valid_to
), ledger AS (
    INSERT INTO transitions ({transition}) SELECT {transition} FROM unnest($11::transition_row[])
), posted AS (
    INSERT INTO outbox (id, at, subject, headers, payload, kv_key, kv_ended)
    SELECT id, at, subject, headers::json, payload::json, kv_key, kv_ended
    FROM unnest($12::uuid[], $13::timestamptz[], $14::text[], $15::text[], $16::text[], $17::text[], $18::boolean[])
        AS new (id, at, subject, headers, payload, kv_key, kv_ended)
)
SELECT set_config('synchronous_commit', 'on', true), sequence_floor FROM relay;
