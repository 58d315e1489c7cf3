"""What is published: ledger entries and callbacks that were not understood as CloudEvents, and the subjects they go to.

Must not know NATS: an event is a row of the outbox here. `schemas/` holds the published JSON Schemas.
"""
