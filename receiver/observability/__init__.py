"""Logs, metrics and traces: how they look, which exist, and what they count.

`catalogue` lists every metric, `labels` the closed label sets. Must not know who logs or counts.
"""
