"""From the outbox to NATS JetStream: the relay, the stream and bucket, and the stream's rebuild from the ledger.

Must not know HTTP, XML or how a callback is decided.
"""
