-- What the relay still has to publish; a row goes when JetStream has acknowledged it.
-- Positions of one entity rise in ledger order, because they are given under that entity's row lock.
-- Payloads stay in the row: a detour through TOAST costs more than the longer row.
CREATE TABLE outbox (
    position  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id        uuid        NOT NULL,
    at        timestamptz NOT NULL,
    subject   text        NOT NULL,
    headers   json        NOT NULL,
    payload   json        NOT NULL,
    kv_key    text,
    kv_ended  boolean     NOT NULL
) WITH (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);

-- How far the stream is known to be acknowledged: what lies behind it in the stream was published, but not yet taken from the outbox.
CREATE TABLE relay (
    singleton        boolean     PRIMARY KEY DEFAULT true CONSTRAINT relay_has_one_row CHECK (singleton),
    stream           text        NOT NULL DEFAULT '',
    stream_sequence  bigint      NOT NULL DEFAULT 0,
    marked_at        timestamptz
);
INSERT INTO relay DEFAULT VALUES;
