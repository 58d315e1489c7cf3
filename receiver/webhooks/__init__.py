"""Webhooks: events of the feed posted to where there is no NATS, signed, in order per entity, retried for hours.

The cursor is a durable consumer of the stream (`publishing.durable_consumer`). Must not know how an event came about.
"""
