-- What an ESC answered when it was asked is kept like a message, on a channel of its own. NOT VALID: no row can break the
-- wider rule, and looking through all of them would hold up those who write.
ALTER TABLE callbacks DROP CONSTRAINT callbacks_channel_known;
ALTER TABLE callbacks ADD CONSTRAINT callbacks_channel_known CHECK (channel IN ('callback', 'events', 'reconcile')) NOT VALID;

-- How each ESC was asked last, by whichever receiver; one asks at a time: who has the lease.
CREATE TABLE reconciliations (
    source       text        PRIMARY KEY,
    asked_at     timestamptz NOT NULL DEFAULT '-infinity',
    reachable    boolean     NOT NULL DEFAULT false,
    trouble      text,
    health       text,
    swept_at     timestamptz,
    deployments  bigint      NOT NULL DEFAULT 0,
    mended       bigint      NOT NULL DEFAULT 0,
    missing      bigint      NOT NULL DEFAULT 0,
    leased_by    uuid,
    leased_until timestamptz NOT NULL DEFAULT '-infinity'
);
