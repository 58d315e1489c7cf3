"""Seeded simulation of everything that goes wrong around the receiver, and an independent audit of what is left.

`make chaos` runs it: real receivers, PostgreSQL and NATS as processes, traffic from the simulator, faults drawn from
the seed. `plan` draws them, `strikes` and `outages` do them, `stage` is what they are done to, `run` is one seed,
`audit` judges.
"""
