"""What each operation does to the emulated ESC: one function each, named in the rows of the table.

A handler gets the ESC and a request whose form is right, and gives the answer or raises a RefusalError. It must not
know HTTP, nor when and how callbacks are sent.
"""
