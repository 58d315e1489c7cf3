"""PostgreSQL: connections, schema, partitions, and one transaction that decides and writes a batch of callbacks.

Must not know HTTP, XML or NATS. SQL stands in `batch.sql` and `partitions.sql`, each statement under a name.
"""
