"""Secrets: which names they go by, and how their values are overwritten in a body before anything else sees it.

Must not know what a body means, who sent it or where it is kept.
"""
