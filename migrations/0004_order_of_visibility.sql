-- A position in the order in which rows become visible, and the indexes of the query API.
-- Serial numbers and times become visible out of order: a transaction that took a lower number may commit later. But no
-- transaction commits any more whose id lies below pg_snapshot_xmin. So readers show rows below it only, in the order
-- of (xid, position): nothing can ever appear before what was shown, whichever receiver wrote it.
CREATE SEQUENCE transitions_position;
ALTER TABLE transitions
    ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    ADD COLUMN position bigint NOT NULL DEFAULT nextval('transitions_position');
ALTER SEQUENCE transitions_position OWNED BY transitions.position;

CREATE SEQUENCE callbacks_position;
ALTER TABLE callbacks
    ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    ADD COLUMN position bigint NOT NULL DEFAULT nextval('callbacks_position');
ALTER SEQUENCE callbacks_position OWNED BY callbacks.position;

-- Times are in these indexes so that rows outside a span are passed over without a look at the table.
CREATE INDEX transitions_in_order ON transitions (xid, position, at);
CREATE INDEX transitions_of_an_operation ON transitions (operation, xid, position) WHERE operation IS NOT NULL;
CREATE INDEX callbacks_in_order ON callbacks (xid, position, received_at);
CREATE INDEX callbacks_of_a_deployment ON callbacks (deployment, xid, position) WHERE deployment IS NOT NULL;
CREATE INDEX callbacks_of_a_transaction ON callbacks (transaction_id, xid, position) WHERE transaction_id IS NOT NULL;
DROP INDEX callbacks_by_transaction;
DROP INDEX callbacks_in_quarantine;
CREATE INDEX callbacks_in_quarantine ON callbacks (xid, position, received_at) WHERE outcome IN ('malformed', 'unclassified');

-- Which transaction id had not been given out at a time: whatever was received later was written under this id or a
-- higher one. So a span of time is a span of the order, without a look at all that came before.
CREATE TABLE order_marks (
    minute  timestamptz PRIMARY KEY,
    at      timestamptz NOT NULL,
    xid     xid8        NOT NULL
);

CREATE INDEX deployments_by_state ON deployments (state, source, internal_deployment_id, incarnation);
CREATE INDEX deployments_by_tenant ON deployments (tenant, source, internal_deployment_id, incarnation);
CREATE INDEX deployments_by_id ON deployments (internal_deployment_id, source, incarnation);
CREATE INDEX deployments_by_change ON deployments (changed_at);

-- No more than these: VMs of a tenant or of a deployment are found by their deployments, and each index costs every callback.
CREATE INDEX vms_by_state ON vms (state, source, vm_name);
CREATE INDEX vms_by_change ON vms (changed_at);

CREATE INDEX resources_of_a_deployment ON resources (deployment, source, kind, resource_id);
CREATE INDEX resources_by_change ON resources (changed_at);

CREATE INDEX operations_by_start ON operations (first_seen_at, id);
CREATE INDEX operations_by_state ON operations (state, source, transaction_id);
CREATE INDEX operations_of_a_deployment ON operations (deployment, source, transaction_id);
