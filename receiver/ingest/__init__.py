"""The path of a callback, in `batcher`: parsed, grouped with others, written, answered.

Must not know HTTP, SQL or the rules of the lifecycle.
"""
