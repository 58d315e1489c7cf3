"""esc-receiver: stands at Cisco ESC's callback URL, keeps every message, understands it, and tells everyone else."""

__version__ = "0.1.0"
