"""PostgreSQL and nats-server as child processes, for `serve --embedded`, the demo and the tests.

Must not know what is stored or published in them.
"""
