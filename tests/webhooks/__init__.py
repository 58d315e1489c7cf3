"""Webhooks: signed, in order, retried, disabled and told, and never a place lost."""
