"""The ledger outside PostgreSQL: a signed archive in which each entry vouches for the one before, and its verification.

Must not know the command line (`receiver.cli.export`, `receiver.cli.verify`), nor how an entry came about.
"""
