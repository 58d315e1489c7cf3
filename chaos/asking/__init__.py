"""Asking under fire: an emulated ESC loses callbacks and fails over; in the end what is known is what it has.

`python -m chaos.asking` (docs/reconcile.md#asking-under-fire). Its receiver, PostgreSQL and NATS are those of `chaos`.
"""
