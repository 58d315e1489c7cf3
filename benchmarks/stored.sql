-- name: deployments
-- So many deployments of three sources and fifty tenants.
INSERT INTO deployments (id, source, internal_deployment_id, incarnation, current, state, first_seen_at, changed_at,
    external_deployment_id, deployment_name, tenant, reported_state, degraded, vim_leak_suspected, vms, extra, sequence, memory)
SELECT md5('deployment' || n)::uuid, 'lab' || n % 3, 'dep-' || n, 1, true,
       CASE WHEN n % 97 = 0 THEN 'ERROR' WHEN n % 31 = 0 THEN 'STOPPED' ELSE 'ACTIVE' END,
       now() - n % 2000 * interval '7 minutes', now() - n % 2000 * interval '5 minutes', 'ext-' || n, 'name-' || n,
       'tenant-' || n % 50, 'SERVICE_ACTIVE_STATE', n % 97 = 0, false, '{}', '{}', 4, '{}'
FROM generate_series(0, $1::integer - 1) AS n;

-- name: vms
-- So many VMs, ten in each deployment.
INSERT INTO vms (id, source, deployment_id, deployment, tenant, vm_name, state, first_seen_at, changed_at, vm_group, vm_uuid,
    host_name, interfaces, reported_state, recovery_open, needs_manual_recovery, extra, sequence, memory)
SELECT md5('vm' || n)::uuid, 'lab' || n / 10 % 3, md5('deployment' || n / 10)::uuid, 'dep-' || n / 10, 'tenant-' || n / 10 % 50,
       'vm-' || n, CASE WHEN n % 211 = 0 THEN 'ERROR' WHEN n % 89 = 0 THEN 'INERT' ELSE 'ALIVE' END,
       now() - n % 2000 * interval '7 minutes', now() - n % 2000 * interval '5 minutes', 'group-' || n % 4, md5('uuid' || n),
       'host-' || n % 200, '[{"nic_id": "0", "ip_address": "10.0.0.1", "mac_address": "fa:16:3e:00:00:01"}]',
       'VM_ALIVE_STATE', false, n % 211 = 0, '{}', 10, '{}'
FROM generate_series(0, $1::integer - 1) AS n;

-- name: resources
-- A network for each deployment.
INSERT INTO resources (id, source, kind, resource_id, state, first_seen_at, changed_at, name, tenant, deployment, attributes, sequence, memory)
SELECT md5('resource' || n)::uuid, 'lab' || n % 3, CASE WHEN n % 5 = 0 THEN 'subnet' ELSE 'network' END, 'net-' || n, 'CREATED',
       now() - n % 2000 * interval '7 minutes', now() - n % 2000 * interval '5 minutes', 'net', 'tenant-' || n % 50, 'dep-' || n, '{}', 1, '{}'
FROM generate_series(0, $1::integer - 1) AS n;

-- name: transitions
-- The n-th entry of each VM, of a time of its own: run once for each n, so that positions and times rise together.
INSERT INTO transitions (id, at, entity, entity_id, source, tenant, deployment, name, sequence, from_state, to_state, change,
    trigger, rule, reason, receipt, operation)
SELECT md5('entry' || n || '-' || $1)::uuid, $2::timestamptz + n * interval '100 milliseconds', 'vm', md5('vm' || n)::uuid,
       'lab' || n / 10 % 3, 'tenant-' || n / 10 % 50, 'dep-' || n / 10, 'vm-' || n, $1::integer,
       CASE WHEN $1 % 2 = 1 THEN 'INERT' ELSE 'ALIVE' END, CASE WHEN $1 % 2 = 0 THEN 'INERT' WHEN n % 211 = 0 THEN 'ERROR' ELSE 'ALIVE' END,
       CASE WHEN $1 % 2 = 0 THEN 'inert' WHEN n % 211 = 0 THEN 'error' ELSE 'alive' END,
       'VM_ALIVE', 'vm-alive', 'its monitor has reached it', receipt, 'tx-' || n / 10 || '-' || $1
FROM (SELECT n, $2::timestamptz + n * interval '100 milliseconds' AS at FROM generate_series(0, $3::integer - 1) AS n) AS numbers,
     LATERAL (SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(at::text), 1, 3) || '8' || substr(md5(at::text), 4, 15))::uuid AS receipt) AS made;

-- name: callbacks
-- The callbacks behind some of these entries, one of 500 not understood. The body is an ordinary one of 1.2 kB.
INSERT INTO callbacks (receipt, received_at, source, channel, remote, headers, body, redacted, transaction_id, status_code,
    family, trigger, deployment, vm_name, outcome, rule, reason, notes)
SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(at::text), 1, 3) || '8' || substr(md5(at::text), 4, 15))::uuid,
       at, 'lab' || n / 10 % 3, 'callback', '127.0.0.1', '[["ESC-Status-Code", "200"]]', convert_to(repeat('<esc_event/>', 100), 'UTF8'),
       false, 'tx-' || n / 10 || '-' || $1, 200, 'deployment', 'VM_ALIVE', 'dep-' || n / 10, 'vm-' || n,
       CASE WHEN n % 500 = 0 THEN 'malformed' ELSE 'applied' END, 'vm-alive', 'its monitor has reached it', '{}'
FROM (SELECT n, $2::timestamptz + n * interval '100 milliseconds' AS at, $1::integer FROM generate_series(0, $3::integer - 1, 5) AS n) AS numbers;

-- name: mark
-- As the service does each minute.
INSERT INTO order_marks (minute, at, xid) VALUES (date_trunc('minute', $1::timestamptz), $1::timestamptz, pg_snapshot_xmax(pg_current_snapshot()));

-- name: receipts
-- Some callbacks, spread over all.
SELECT receipt FROM callbacks TABLESAMPLE SYSTEM (1) LIMIT 500;
