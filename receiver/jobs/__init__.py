"""Periodic work in the background: overdue operations, counts of entities, partitions, and what PostgreSQL and NATS
report of themselves.

Must not know HTTP or the command line.
"""
