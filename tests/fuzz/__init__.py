"""What bytes from outside may do: properties that hold for any input, and a fuzzer that looks for one that breaks them.

`targets` names the properties; `python -m tests.fuzz` (`make fuzz`) hands them inputs that atheris makes, guided by
which code they reach. What was found once is kept in `found`, and tried by `test_found` in every run of the tests.
"""
