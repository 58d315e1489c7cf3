-- How long ago each source was heard of last, as found at every count: by hour, and by classes of age that grow by a quarter
-- (a class is the exponent: at most 1.25 ^ class seconds). So what is usual is known without a look at all callbacks.
CREATE TABLE source_silences (
    source  text        NOT NULL,
    hour    timestamptz NOT NULL,
    class   smallint    NOT NULL,
    looks   bigint      NOT NULL,
    PRIMARY KEY (source, hour, class)
);

-- What is usual by hour of the week (0: Monday from 0 to 1 UTC). Learned now and then by one receiver, and read by all.
CREATE TABLE learned_silences (
    source        text             NOT NULL,
    hour_of_week  smallint         NOT NULL,
    samples       bigint           NOT NULL,
    usual_s       double precision NOT NULL,
    p99_s         double precision NOT NULL,
    PRIMARY KEY (source, hour_of_week)
);
