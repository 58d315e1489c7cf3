-- The state of everything ESC reported on, and the ledger of how it came there.
-- Row ids are derived from identities by the program, so that a batch needs no round trip to learn them.
-- The order of columns is the order of fields in receiver/entities.py.
CREATE TABLE operations (
    id              uuid        PRIMARY KEY,
    source          text        NOT NULL,
    transaction_id  text        NOT NULL,
    kind            text        NOT NULL,
    state           text        NOT NULL CONSTRAINT operations_state_known CHECK (state IN ('UNSEEN', 'OPEN', 'OVERDUE', 'SUCCEEDED', 'FAILED', 'CANCELLED')),
    first_seen_at   timestamptz NOT NULL,
    last_seen_at    timestamptz NOT NULL,
    ended_at        timestamptz,
    revised         boolean     NOT NULL,
    tenant          text,
    deployment      text,
    ref             text,
    vms_seen        integer     NOT NULL,
    vms_deployed    integer     NOT NULL,
    vms_alive       integer     NOT NULL,
    vms_failed      integer     NOT NULL,
    status_code     integer,
    status_message  text,
    sequence        bigint      NOT NULL,
    memory          jsonb       NOT NULL,
    CONSTRAINT operations_end_has_a_time CHECK ((ended_at IS NOT NULL) = (state IN ('SUCCEEDED', 'FAILED', 'CANCELLED')))
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX operations_identity ON operations (source, transaction_id);
CREATE INDEX operations_open ON operations (last_seen_at) WHERE ended_at IS NULL;

CREATE TABLE deployments (
    id                      uuid        PRIMARY KEY,
    source                  text        NOT NULL,
    internal_deployment_id  text        NOT NULL,
    incarnation             integer     NOT NULL CONSTRAINT deployments_incarnation_counts_from_1 CHECK (incarnation >= 1),
    current                 boolean     NOT NULL,
    state                   text        NOT NULL CONSTRAINT deployments_state_known CHECK (state IN ('UNSEEN', 'DEPLOYING', 'INERT', 'ACTIVE', 'STOPPING', 'STOPPED', 'STARTING', 'REBOOTING', 'ERROR', 'UNDEPLOYING', 'UNDEPLOYED')),
    first_seen_at           timestamptz NOT NULL,
    changed_at              timestamptz NOT NULL,
    ended_at                timestamptz,
    external_deployment_id  text,
    deployment_name         text,
    tenant                  text,
    external_tenant_id      text,
    reported_state          text,
    degraded                boolean     NOT NULL,
    vim_leak_suspected      boolean     NOT NULL,
    conflicting_external_id text,
    last_operation          jsonb,
    vms                     jsonb       NOT NULL,
    extra                   jsonb       NOT NULL,
    sequence                bigint      NOT NULL,
    memory                  jsonb       NOT NULL,
    CONSTRAINT deployments_end_has_a_time CHECK ((ended_at IS NOT NULL) = (state = 'UNDEPLOYED')),
    -- Deferred, because one statement retires an incarnation and begins the next.
    CONSTRAINT deployments_one_current EXCLUDE (source WITH =, internal_deployment_id WITH =) WHERE (current) DEFERRABLE INITIALLY DEFERRED
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX deployments_identity ON deployments (source, internal_deployment_id, incarnation);

CREATE TABLE vms (
    id                     uuid        PRIMARY KEY,
    source                 text        NOT NULL,
    deployment_id          uuid        NOT NULL,
    deployment             text        NOT NULL,
    tenant                 text,
    vm_name                text        NOT NULL,
    state                  text        NOT NULL CONSTRAINT vms_state_known CHECK (state IN ('UNSEEN', 'DEPLOYING', 'INERT', 'ALIVE', 'STOPPING', 'STOPPED', 'STARTING', 'REBOOTING', 'RECOVERING', 'ERROR', 'UNDEPLOYING', 'UNDEPLOYED')),
    first_seen_at          timestamptz NOT NULL,
    changed_at             timestamptz NOT NULL,
    ended_at               timestamptz,
    vm_group               text,
    vm_uuid                text,
    host_uuid              text,
    host_name              text,
    interfaces             jsonb       NOT NULL,
    reported_state         text,
    monitored              boolean,
    recovery_open          boolean     NOT NULL,
    needs_manual_recovery  boolean     NOT NULL,
    last_operation         jsonb,
    extra                  jsonb       NOT NULL,
    sequence               bigint      NOT NULL,
    memory                 jsonb       NOT NULL,
    CONSTRAINT vms_end_has_a_time CHECK ((ended_at IS NOT NULL) = (state = 'UNDEPLOYED'))
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX vms_identity ON vms (deployment_id, vm_name);
CREATE INDEX vms_by_name ON vms (source, vm_name);

-- A VM's instance id in the VIM changes when it is redeployed; each is an alias for a time.
CREATE TABLE vm_aliases (
    source      text        NOT NULL,
    vm_uuid     text        NOT NULL,
    vm_id       uuid        NOT NULL,
    valid_from  timestamptz NOT NULL,
    valid_to    timestamptz,
    PRIMARY KEY (source, vm_uuid, vm_id)
);
CREATE INDEX vm_aliases_of_a_vm ON vm_aliases (vm_id);

CREATE TABLE resources (
    id             uuid        PRIMARY KEY,
    source         text        NOT NULL,
    kind           text        NOT NULL,
    resource_id    text        NOT NULL,
    state          text        NOT NULL CONSTRAINT resources_state_known CHECK (state IN ('UNSEEN', 'CREATED', 'UPDATED', 'DELETED', 'ERROR')),
    first_seen_at  timestamptz NOT NULL,
    changed_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    external_id    text,
    name           text,
    tenant         text,
    deployment     text,
    attributes     jsonb       NOT NULL,
    sequence       bigint      NOT NULL,
    memory         jsonb       NOT NULL,
    CONSTRAINT resources_end_has_a_time CHECK ((ended_at IS NOT NULL) = (state = 'DELETED'))
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX resources_identity ON resources (source, kind, resource_id);

-- The ledger. An entity's entries are numbered 1, 2, 3 … without a gap.
CREATE TABLE transitions (
    id           uuid        NOT NULL,
    at           timestamptz NOT NULL,
    entity       text        NOT NULL CONSTRAINT transitions_entity_known CHECK (entity IN ('deployment', 'vm', 'resource', 'operation')),
    entity_id    uuid        NOT NULL,
    source       text        NOT NULL,
    tenant       text,
    deployment   text,
    incarnation  integer,
    name         text        NOT NULL,
    sequence     bigint      NOT NULL CONSTRAINT transitions_sequence_counts_from_1 CHECK (sequence >= 1),
    from_state   text        NOT NULL,
    to_state     text        NOT NULL,
    change       text        NOT NULL,
    trigger      text        NOT NULL,
    rule         text        NOT NULL,
    reason       text        NOT NULL,
    receipt      uuid,
    operation    text,
    ref          text,
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE UNIQUE INDEX transitions_of_an_entity ON transitions (entity_id, sequence, at);
