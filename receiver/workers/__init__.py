"""`serve --workers`: several processes of the receiver on one port, and the supervisor that looks after them.

`supervisor` starts them, starts a dead one again, and replaces them one by one; `worker_process` is one of them as the
supervisor sees it, `membership` the supervisor as a worker sees it, `line` what they speak through; `listeners` are the
sockets they share; `tally` makes one set of figures of theirs, `readiness` one answer. Must not know what a worker
does with a callback.
"""
