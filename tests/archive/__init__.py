"""The archive of the ledger."""
