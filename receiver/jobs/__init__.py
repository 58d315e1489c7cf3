"""Work done now and then, beside the requests: overdue operations, counts of entities, monitors of surroundings.

Must not know HTTP or the command line.
"""
