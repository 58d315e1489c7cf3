-- Rows on their way between program and tables, under types of their own: a table may be given a column while programs of
-- an earlier release run, and a row type of the table would then not fit theirs any more. A type is never changed once
-- it is out; a release that needs another column makes another type.
CREATE TYPE callback_row AS (
    receipt uuid, received_at timestamptz, source text, channel text, remote text, ref text, headers json, body
    bytea, redacted boolean, transaction_id text, status_code integer, status_message text, family text, trigger
    text, deployment text, vm_name text, outcome text, rule text, reason text, notes text[]
);
CREATE TYPE operation_row AS (
    id uuid, source text, transaction_id text, kind text, state text, first_seen_at timestamptz, last_seen_at
    timestamptz, ended_at timestamptz, revised boolean, tenant text, deployment text, ref text, vms_seen
    integer, vms_deployed integer, vms_alive integer, vms_failed integer, status_code integer, status_message
    text, sequence bigint, memory json
);
CREATE TYPE deployment_row AS (
    id uuid, source text, internal_deployment_id text, incarnation integer, current boolean, state text,
    first_seen_at timestamptz, changed_at timestamptz, ended_at timestamptz, external_deployment_id text,
    deployment_name text, tenant text, external_tenant_id text, reported_state text, degraded boolean,
    vim_leak_suspected boolean, conflicting_external_id text, last_operation json, vms json, extra json,
    sequence bigint, memory json
);
CREATE TYPE vm_row AS (
    id uuid, source text, deployment_id uuid, deployment text, tenant text, vm_name text, state text,
    first_seen_at timestamptz, changed_at timestamptz, ended_at timestamptz, vm_group text, vm_uuid text,
    host_uuid text, host_name text, interfaces json, reported_state text, monitored boolean, recovery_open
    boolean, needs_manual_recovery boolean, last_operation json, extra json, sequence bigint, memory json
);
CREATE TYPE resource_row AS (
    id uuid, source text, kind text, resource_id text, state text, first_seen_at timestamptz, changed_at
    timestamptz, ended_at timestamptz, external_id text, name text, tenant text, deployment text, attributes
    json, sequence bigint, memory json
);
CREATE TYPE alias_row AS (
    source text, vm_uuid text, vm_id uuid, valid_from timestamptz, valid_to timestamptz
);
CREATE TYPE transition_row AS (
    id uuid, at timestamptz, entity text, entity_id uuid, source text, tenant text, deployment text, incarnation
    integer, name text, sequence bigint, from_state text, to_state text, change text, trigger text, rule text,
    reason text, receipt uuid, operation text, ref text
);
-- A ledger entry as it is read, with its place in the order of visibility.
CREATE TYPE ledger_row AS (
    id uuid, at timestamptz, entity text, entity_id uuid, source text, tenant text, deployment text, incarnation
    integer, name text, sequence bigint, from_state text, to_state text, change text, trigger text, rule text,
    reason text, receipt uuid, operation text, ref text, xid xid8, position bigint
);
