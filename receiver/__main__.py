"""`python -m receiver` is the same as `esc-receiver`."""

from receiver.cli.main import main

if __name__ == "__main__":
    main(prog_name="esc-receiver")
