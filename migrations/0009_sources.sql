-- Notifications of ESC's NETCONF stream name a deployment by its external id.
CREATE INDEX deployments_by_external_id ON deployments (external_deployment_id) WHERE external_deployment_id IS NOT NULL;

-- What an ESC says of itself: in or out of service. Columns in the order of fields in receiver/model/entities.py.
CREATE TABLE sources (
    id             uuid        PRIMARY KEY,
    source         text        NOT NULL CONSTRAINT sources_identity UNIQUE,
    state          text        NOT NULL CONSTRAINT sources_state_known CHECK (state IN ('UNSEEN', 'IN_SERVICE', 'OUT_OF_SERVICE')),
    first_seen_at  timestamptz NOT NULL,
    changed_at     timestamptz NOT NULL,
    reason         text,
    sequence       bigint      NOT NULL,
    memory         json        NOT NULL
);

-- When each source was heard of last, and what was refused: added to now and then by every receiver, never by a callback.
CREATE TABLE source_activity (
    source           text        PRIMARY KEY,
    last_message_at  timestamptz,
    refused          bigint      NOT NULL DEFAULT 0,
    refused_at       timestamptz,
    refused_because  text
);

-- The ledger has entries of sources. Not validated: what is there is of fewer kinds, and to read it all takes long.
ALTER TABLE transitions DROP CONSTRAINT transitions_entity_known;
ALTER TABLE transitions ADD CONSTRAINT transitions_entity_known
    CHECK (entity IN ('deployment', 'vm', 'resource', 'operation', 'source')) NOT VALID;
