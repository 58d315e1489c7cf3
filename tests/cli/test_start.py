"""What a start loads: no command loads what it does not use. No times are looked at, only modules."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from receiver.cli.deferred import Deferred
from receiver.cli.main import main
from tests.support.program import CHECKOUT

PROGRAM = """
import atexit, sys
from receiver.cli.main import main
atexit.register(lambda: print("loaded", *sys.modules))
main(prog_name="esc-receiver")
"""
SERVICE = {"aiohttp", "asyncpg", "esc_receiver_client.models", "lxml", "nats", "pydantic", "receiver.app", "structlog"}
"""What takes long to load, and is of use to who serves."""
COMMANDS = {"esc_lab.demo.demo", "esc_lab.emulator", "esc_lab.simulator", "receiver.cli.options", "receiver.cli.serve"}
ASKING = {"asyncio", "httpx2", "prometheus_client", "rich"}


def started(*arguments: str, **environment: str) -> tuple[str, set[str]]:
    """What a process of the program prints, and the modules that it has loaded when it ends."""
    ran = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, **environment},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    said, _, loaded = ran.stdout.rpartition("loaded ")
    return said, set(loaded.split())


def test_what_a_supervisor_is_has_no_server() -> None:
    """A receiver is loaded when the settings are read and ask for one in this process."""
    said, loaded = started("serve", ESC_RECEIVER_PORT="none")
    assert said == ""
    assert loaded & (SERVICE - {"pydantic", "structlog"}) == set()
    assert "rich" not in loaded
    assert "receiver.workers.supervisor" in loaded


def test_a_receiver_loads_what_it_serves_with() -> None:
    """Not what writes the page of the API's documents, nor what asks receivers, draws, or signs for NATS."""
    _, loaded = started("worker", "--help")
    assert loaded & {"esc_receiver_client.models", "httpx2", "jinja2", "markdown_it", "receiver.api.docs_page"} == set()
    assert loaded & {"nacl", "nkeys", "rich"} == set()
    assert {"receiver.app", "structlog"} <= loaded


def deferred() -> dict[str, Deferred]:
    """The program's commands as it lists them."""
    context = click.Context(main)
    found = {name: main.get_command(context, name) for name in main.list_commands(context)}
    return {name: command for name, command in found.items() if isinstance(command, Deferred)}


def test_the_version_is_said_with_nothing_loaded() -> None:
    """Not even what finds the commands of other packages."""
    said, loaded = started("--version")
    assert said.startswith("esc-receiver, version ")
    assert loaded & (SERVICE | COMMANDS | ASKING | {"importlib.metadata"}) == set()


def test_the_commands_are_listed_with_none_of_them_loaded() -> None:
    """In the help, and to a shell that completes them."""
    said, loaded = started("--help")
    assert "\n  demo " in said
    assert loaded & (SERVICE | COMMANDS | ASKING) == set()
    said, loaded = started(_ESC_RECEIVER_COMPLETE="bash_complete", COMP_WORDS="esc-receiver e", COMP_CWORD="1")
    assert said.split() == ["plain,emulate", "plain,epoch", "plain,explain", "plain,export"]
    assert loaded & (SERVICE | COMMANDS | ASKING) == set()


def test_a_shell_completes_the_options_of_a_command() -> None:
    """Which is loaded for it."""
    words = "esc-receiver operations --ti"
    said, _ = started(_ESC_RECEIVER_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD="2")
    assert said.split() == ["plain,--timeout"]


@pytest.mark.parametrize("command", ["vms", "tail"])
def test_who_asks_a_receiver_loads_nothing_of_one(command: str) -> None:
    """Neither server nor databases, nor the classes of what is answered; NATS only if that is what is asked."""
    said, loaded = started(command, "--url", "http://127.0.0.1:1")
    assert said == ""
    assert loaded & SERVICE == set()
    assert "httpx2" in loaded


@pytest.mark.parametrize("width", [20, 45, 78, 200])
def test_a_command_is_listed_as_it_describes_itself(width: int) -> None:
    """The line in the list is the first sentence of its own help."""
    listed = {name: (command.get_short_help_str(width), command.hidden) for name, command in deferred().items()}
    loaded = {name: command.load() for name, command in deferred().items()}
    assert len(listed) == len(main.list_commands(click.Context(main)))
    assert listed == {name: (command.get_short_help_str(width), command.hidden) for name, command in loaded.items()}
    assert all(name == command.name for name, command in loaded.items())


def test_a_command_explains_itself_wherever_it_is_asked() -> None:
    """By itself, and then in the program: `-h` is known to both."""
    alone = deferred()["migrate"].load()
    for command, words in ((alone, ["-h"]), (main, ["migrate", "-h"])):
        told = CliRunner().invoke(command, words)
        assert (told.exit_code, "Examples:" in told.output) == (0, True), told.output
