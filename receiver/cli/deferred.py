"""A command that is known by its name and a line of help, and imported when it is used.

What one command needs takes the processor far longer to load than most of them run. Must not know which there are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any

import click

from receiver.cli import HELP_OPTIONS, PROGRAM
from receiver.cli.collector import uncollected
from receiver.errors import SetupError


class Deferred(click.Command):
    """Stands for the command in lists of help and of completion; what is asked of itself is asked of that one."""

    def __init__(self, name: str, module: str, line: str, *, hidden: bool = False, draws: bool = True) -> None:
        """`NAME_command` of the module; `line` is the first sentence of its help; `draws`: it has a use for rich."""
        super().__init__(name, help=line, hidden=hidden)
        self._module = module
        self._draws = draws
        self._variable = f"{name.replace('-', '_')}_command"

    def load(self) -> click.Command:
        """The command itself, or one that says which package it lacks."""
        try:
            with uncollected(), nullcontext() if self._draws else without("rich"):
                command: click.Command = getattr(import_module(self._module), self._variable)
        except ModuleNotFoundError as error:
            return lacking(self.name or "", error.name or "a package")
        # click keeps the first answer: a command that was asked by itself before would not know -h in the group either
        command.context_settings.setdefault("help_option_names", HELP_OPTIONS)
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Of the command itself: from here on it is used."""
        return self.load().make_context(info_name, args, parent, **extra)


@contextmanager
def without(package: str) -> Iterator[None]:
    """Load as if the package were not installed, unless it is loaded already: structlog loads rich, three megabytes of
    each worker, for tracebacks that we write in another way."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # so it is said that there is none
    try:
        yield
    finally:
        del sys.modules[package]


def lacking(name: str, module: str) -> click.Command:
    """A stand-in for a command whose dependencies are not installed."""

    def fail() -> None:
        raise SetupError(f"`{PROGRAM} {name}` needs {module}: pip install 'esc-receiver[embedded,emulator]'")

    return click.Command(
        name,
        callback=fail,
        help=f"(not installed: needs {module})",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
