"""The command line: one file for each command, and what they share (options, terminal, signals, the API's client).

`main` names the commands; each is imported when it is used, so that none costs a start what it does not need.

Must not hold anything that the service needs when it is not run from a terminal.
"""

PROGRAM = "esc-receiver"
"""As it is called."""
HELP_OPTIONS = ("-h", "--help")
