"""The way of a callback on one screen: parse, wait for a batch, write, answer.

Must not know HTTP, SQL or the rules of the lifecycle.
"""
