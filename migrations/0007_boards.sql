-- What boards read: how many are in which state, counted now and then by one receiver for all, and views for Grafana.
-- A board is given the views alone: they show neither bodies nor headers, nor what an entity remembers.
CREATE TABLE state_counts (
    singleton   boolean     PRIMARY KEY DEFAULT true CONSTRAINT state_counts_has_one_row CHECK (singleton),
    counted_at  timestamptz,
    counts      json        NOT NULL DEFAULT '[]'
);
INSERT INTO state_counts DEFAULT VALUES;

CREATE VIEW grafana_deployments AS
SELECT source, tenant, internal_deployment_id AS deployment, deployment_name, incarnation, current, state, degraded,
       vim_leak_suspected, first_seen_at, changed_at, ended_at, reported_state, sequence, vms,
       last_operation ->> 'name' AS last_operation, last_operation ->> 'outcome' AS last_outcome
FROM deployments;

CREATE VIEW grafana_vms AS
SELECT v.source, d.tenant, d.internal_deployment_id AS deployment, d.incarnation, d.current, v.vm_name AS vm, v.vm_group,
       v.state, v.first_seen_at, v.changed_at, v.ended_at, v.vm_uuid, v.host_name, v.monitored, v.recovery_open,
       v.needs_manual_recovery, v.reported_state, v.sequence
FROM deployments AS d JOIN vms AS v ON v.deployment_id = d.id;

CREATE VIEW grafana_operations AS
SELECT source, tenant, deployment, transaction_id AS operation, kind, state, first_seen_at, last_seen_at, ended_at,
       extract(epoch FROM coalesce(ended_at, now()) - first_seen_at)::float8 AS seconds,
       extract(epoch FROM now() - last_seen_at)::float8 AS silent_seconds,
       revised, vms_seen, vms_deployed, vms_alive, vms_failed, status_code, status_message, ref
FROM operations;

-- Each state that a VM was in, from when to when; the end is looked up only where it is asked for.
CREATE VIEW grafana_vm_timeline AS
SELECT d.source, d.tenant, d.internal_deployment_id AS deployment, d.incarnation, v.vm_name AS vm, v.vm_group,
       t.sequence, t.at AS began_at,
       (SELECT n.at FROM transitions AS n
        WHERE n.entity_id = t.entity_id AND n.sequence > t.sequence AND n.from_state <> n.to_state
        ORDER BY n.sequence LIMIT 1) AS ended_at,
       t.from_state, t.to_state AS state, t.trigger, t.rule, t.reason, t.operation, t.receipt
FROM deployments AS d
JOIN vms AS v ON v.deployment_id = d.id
JOIN transitions AS t ON t.entity_id = v.id AND t.from_state <> t.to_state;

CREATE VIEW grafana_deployment_timeline AS
SELECT d.source, d.tenant, d.internal_deployment_id AS deployment, d.incarnation, t.sequence, t.at AS began_at,
       (SELECT n.at FROM transitions AS n
        WHERE n.entity_id = t.entity_id AND n.sequence > t.sequence AND n.from_state <> n.to_state
        ORDER BY n.sequence LIMIT 1) AS ended_at,
       t.from_state, t.to_state AS state, t.trigger, t.rule, t.reason, t.operation, t.receipt
FROM deployments AS d
JOIN transitions AS t ON t.entity_id = d.id AND t.from_state <> t.to_state;

-- The ledger of a deployment's VMs and of itself, notes too.
CREATE VIEW grafana_ledger AS
SELECT d.source, d.tenant, d.internal_deployment_id AS deployment, d.incarnation, 'vm' AS entity, v.vm_name AS name,
       t.at, t.sequence, t.from_state, t.to_state, t.change, t.trigger, t.rule, t.reason, t.operation, t.receipt
FROM deployments AS d JOIN vms AS v ON v.deployment_id = d.id JOIN transitions AS t ON t.entity_id = v.id
UNION ALL
SELECT d.source, d.tenant, d.internal_deployment_id, d.incarnation, 'deployment', d.internal_deployment_id,
       t.at, t.sequence, t.from_state, t.to_state, t.change, t.trigger, t.rule, t.reason, t.operation, t.receipt
FROM deployments AS d JOIN transitions AS t ON t.entity_id = d.id;

-- A role of this name, where the administrator has made one, may read the views and nothing else (docs/operations.md).
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'esc_grafana') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO esc_grafana', current_schema());
        GRANT SELECT ON grafana_deployments, grafana_vms, grafana_operations, grafana_vm_timeline,
            grafana_deployment_timeline, grafana_ledger TO esc_grafana;
    END IF;
END
$$;
