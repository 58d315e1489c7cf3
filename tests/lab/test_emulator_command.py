"""`esc-receiver emulate`, as it is run in a terminal."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from esc_lab.emulator import Options
from esc_lab.emulator.world_store import Store
from receiver.cli.main import main
from receiver.errors import SetupError
from tests.support.emulator import PATIENCE_S, orchestrating
from tests.support.program import Program, program

XML = {"Content-Type": "application/xml"}


async def told(emulator: Program, word: str) -> str:
    """The URL behind a word that it prints."""
    assert emulator.process.stdout is not None  # a pipe
    async with asyncio.timeout(PATIENCE_S):
        while line := (await emulator.process.stdout.readline()).decode():
            if line.startswith(word):
                return line.split()[len(word.split())]
    raise AssertionError(f"it ended before it told of {word}")


async def test_it_says_where_it_is_and_ends_at_a_signal(tmp_path: Path) -> None:
    """Both ports, its seed, and exit status 0; the state lies in its folder."""
    options = ("--port", "0", "--https-port", "0", "--seed", "7", "--time-scale", "0", "--data-dir", tmp_path)
    async with program("emulate", *options) as emulator, aiohttp.ClientSession() as session:
        url = await told(emulator, "northbound")
        assert (await told(emulator, "over TLS")).startswith("https://")
        async with session.post(f"{url}/dep", data="<esc_datamodel/>", headers=XML) as answer:
            assert (answer.status, "tenants" in await answer.text()) == (400, True)
        emulator.signal(signal.SIGTERM)
        assert await emulator.ended() == 0
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".sqlite"] == ["emulator.sqlite"]


@pytest.mark.parametrize(
    ("option", "value", "names"), [("--basic", "admin", "USER:PASSWORD"), ("--faults", "x=1", "x=1")]
)
def test_a_wrong_option_is_one_clear_line(option: str, value: str, names: str) -> None:
    """And exit status 2."""
    result = CliRunner().invoke(main, ["emulate", option, value], prog_name="esc-receiver")
    assert (result.exit_code, result.output.count("\n"), names in result.output) == (2, 1, True)


def test_a_folder_that_cannot_be_used_is_named() -> None:
    """Before anything is served."""
    with pytest.raises(SetupError, match="/proc/nowhere"):
        Store(Path("/proc/nowhere"))


async def test_it_fails_over_by_itself() -> None:
    """As often as it is told to; each time there is another certificate."""
    async with orchestrating(Options(port=0, https_port=0, seed=1, failover_every_s=0.05)) as client:
        before = (await client.ask("GET", "/emulator/certificate")).text
        async with asyncio.timeout(PATIENCE_S):
            while (await client.ask("GET", "/emulator/certificate")).text == before:
                pass
