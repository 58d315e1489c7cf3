-- What is known of each webhook besides its place in the stream, which JetStream keeps (a durable consumer): written by
-- the receiver that delivers, read by all; commands raise the revision.
CREATE TABLE webhooks (
    name               text        PRIMARY KEY,
    revision           bigint      NOT NULL DEFAULT 0,
    disabled_at        timestamptz,
    disabled_because   text,
    -- Why nothing is delivered although it is enabled.
    trouble            text,
    -- The first event that is not taken, and since when.
    failing_sequence   bigint,
    failing_since      timestamptz,
    -- Where to begin anew, as somebody asked.
    resend_from        bigint,
    -- Up to where everything was delivered when it was last looked, and which message stands there: by it a place that is
    -- lost is noticed, and found again.
    place_sequence     bigint,
    place_subject      text,
    place_id           text,
    delivered_at       timestamptz,
    delivered_sequence bigint,
    delivered_id       text,
    error_at           timestamptz,
    error              text
);
