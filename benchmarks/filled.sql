-- name: callbacks
-- Those from number $1 on, $2 of them, each $4 after the one before, the first at $3: an ordinary body, an operation for ten.
INSERT INTO callbacks (receipt, received_at, source, channel, remote, headers, body, redacted, transaction_id, status_code,
    family, trigger, deployment, vm_name, outcome, rule, reason, notes)
SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5('c' || n), 1, 3) || '8' || substr(md5('c' || n), 4, 15))::uuid,
       at, 'old', 'callback', '127.0.0.1', '[["ESC-Status-Code", "200"]]', convert_to(repeat('<esc_event/>', 100), 'UTF8'),
       false, 'old-' || n / 10, 200, 'deployment', 'VM_ALIVE', 'old-' || n / 100, 'vm-' || n % 100,
       'applied', 'vm-alive', 'its monitor has reached it', '{}'
FROM (SELECT n, $3::timestamptz + n * $4::interval AS at FROM generate_series($1::bigint, $1::bigint + $2::bigint - 1) AS n) AS made;

-- name: transitions
-- The ledger entries of these callbacks.
INSERT INTO transitions (id, at, entity, entity_id, source, tenant, deployment, name, sequence, from_state, to_state, change,
    trigger, rule, reason, receipt, operation)
SELECT md5('t' || n)::uuid, $3::timestamptz + n * $4::interval, 'vm', md5('vm' || n / 10)::uuid, 'old', 'bench', 'old-' || n / 100,
       'vm-' || n % 100, n % 10 + 1, 'INERT', 'ALIVE', 'alive', 'VM_ALIVE', 'vm-alive', 'its monitor has reached it',
       md5('c' || n)::uuid, 'old-' || n / 10
FROM generate_series($1::bigint, $1::bigint + $2::bigint - 1) AS n;
