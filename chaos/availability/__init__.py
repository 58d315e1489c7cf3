"""The service with everything made highly available, by the programs that do that, and what each strike costs.

`make cluster` runs it: etcd, PostgreSQL under Patroni, a cluster of nats-servers, two receivers with two workers each,
HAProxy in front. `site` is all of it, `strikes` does the harm, `watch` measures, `drill` is a run, `report` its table.
The auditor is that of `make chaos`.
"""
