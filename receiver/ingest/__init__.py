"""The way of a callback: `batcher` is all of it. Must not know HTTP, SQL or the rules of the lifecycle."""
