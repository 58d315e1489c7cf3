"""Stored callbacks applied again: from quarantine, a time range or a file, and the stream rebuilt on demand.

Must not know the command line: `receiver.cli.replay` does.
"""
