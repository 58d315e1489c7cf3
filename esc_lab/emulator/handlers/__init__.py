"""What each operation does to the emulated ESC: one function each, named in the rows of the endpoint tables.

A handler takes the ESC and a well-formed request, and returns the reply or raises a RefusalError. It must not know
HTTP, nor when and how callbacks are sent.
"""
