-- How long operations usually take, by source and kind, and by the number of VMs they spoke of (at most `vms_max`; 0: of
-- any number): of those that succeeded lately. Learned now and then by one receiver, and read by all.
CREATE TABLE learned_durations (
    source     text             NOT NULL,
    kind       text             NOT NULL,
    vms_max    bigint           NOT NULL,
    samples    bigint           NOT NULL,
    usual_s    double precision NOT NULL,
    p99_s      double precision NOT NULL,
    longest_s  double precision NOT NULL,
    PRIMARY KEY (source, kind, vms_max)
);

-- When that was done last.
CREATE TABLE learning (
    one        boolean     PRIMARY KEY DEFAULT true CHECK (one),
    learned_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO learning DEFAULT VALUES;
