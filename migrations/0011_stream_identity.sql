-- Each database has an id. The stream and the bucket carry it in their metadata: that is how they are known to be this
-- database's, for nats-server may report another creation time for the same stream after a restart.
-- Which message was acknowledged last is kept with its sequence: where another one stands in its place, or none, the
-- stream was cut short. A release that does not know these columns leaves them behind `stream_sequence`.
ALTER TABLE relay
    ADD COLUMN database_id       uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN message_sequence  bigint,
    ADD COLUMN message_id        text;
