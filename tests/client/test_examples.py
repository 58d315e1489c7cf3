"""The examples of the kit's README and of docs/consumers.md run as they stand, with the addresses of a laboratory."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx2
import pytest

from esc_lab.fixtures import EscLab
from tests.support.program import CHECKOUT
from tests.support.samples import SAMPLES

README, PAGE = CHECKOUT / "client" / "README.md", CHECKOUT / "docs" / "consumers.md"
MODEL = (CHECKOUT / "docs" / "examples" / "deployment.xml").read_text("utf-8")
FAILING = ("rec-deploy-01-vm-deployed", "rec-recovery-01-init", "rec-recovery-05-complete-fail")


def blocks(page: Path) -> list[str]:
    """Its programs in Python."""
    return re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def programs(page: Path, word: str) -> str:
    """The one that runs by itself and has this word."""
    (found,) = [block for block in blocks(page) if word in block and "asyncio.run(main())" in block]
    return found


def deploy(lab: EscLab) -> str:
    """Order a deployment, and wait until it is up."""
    transaction = lab.request("POST", "/v0/deployments/firewall-1", MODEL).transaction
    assert lab.wait(transaction)["state"] == "SUCCEEDED"
    return transaction


@contextmanager
def running(program: str, lab: EscLab) -> Iterator[subprocess.Popen[str]]:
    """A program of a page, at the laboratory's addresses; killed at the end."""
    for written, real in (
        ("nats://nats.example:4222", lab.nats_url),
        ("postgresql://db.example/billing", lab.postgres_dsn),
        ("http://receiver.example:9010", lab.receiver),
    ):
        program = program.replace(written, real)
    command = [sys.executable, "-u", "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own page
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str], number: int) -> list[str]:
    """The next that it prints."""
    assert process.stdout
    return [process.stdout.readline().rstrip("\n") for _ in range(number)]


def told_of_vms(lab: EscLab) -> list[str]:
    """What the ledger says, as the consumer prints it."""
    return [
        f"{entry['id']} esc.vm.{entry['change']}.v1 vm/{entry['deployment']}/{entry['name']}"
        for entry in lab.query("transitions?entity=vm")["items"]
    ]


@pytest.mark.parametrize("page", [README, PAGE], ids=["readme", "page"])
def test_ten_lines_to_the_first_event(esc_lab: EscLab, page: Path) -> None:
    """Every change of a VM, once, in order; started again, it goes on where it was."""
    program = programs(page, "print(event.id")
    assert len([line for line in program.splitlines() if line]) <= 10
    deploy(esc_lab)
    expected = told_of_vms(esc_lab)
    with running(program, esc_lab) as process:
        assert lines(process, len(expected)) == expected
        esc_lab.request("DELETE", "/v0/deployments/firewall-1")
        (came,) = lines(process, 1)
    assert "esc.vm." in came
    assert came not in expected


@pytest.mark.parametrize("page", [README, PAGE], ids=["readme", "page"])
def test_exactly_once(esc_lab: EscLab, page: Path) -> None:
    """An invoice for each change, and it stops on SIGTERM by itself."""
    deploy(esc_lab)
    expected = len(told_of_vms(esc_lab))
    with running(programs(page, "PostgresInbox"), esc_lab) as process:
        asyncio.run(_until_there_are(esc_lab.postgres_dsn, expected))
        process.terminate()
        assert process.wait() == 0


def test_the_state_of_everything(esc_lab: EscLab) -> None:
    """As it is, and then what changes."""
    deploy(esc_lab)
    with running(programs(PAGE, "snapshot_then_follow"), esc_lab) as process:
        assert sorted(lines(process, 3)) == ["deployment ACTIVE as it is", *["vm ALIVE as it is"] * 2]
        esc_lab.request("DELETE", "/v0/deployments/firewall-1")
        assert lines(process, 1)[0].endswith(" changed")


@pytest.mark.parametrize("page", [README, PAGE], ids=["readme", "page"])
def test_asking(esc_lab: EscLab, page: Path) -> None:
    """Why the failed VMs are where they are."""
    for name in FAILING:
        answer = httpx2.post(
            esc_lab.callback_headers["Callback"], content=SAMPLES[name].body, headers=dict(SAMPLES[name].headers)
        )
        assert answer.status_code == 200
    transaction = esc_lab.query("operations?kind=deploy")["items"][0]["transaction_id"]
    with running(programs(page, "api.explain").replace("a-transaction-id", transaction), esc_lab) as process:
        output, _ = process.communicate()
        assert process.returncode == 0
    failed = esc_lab.query("vms?state=ERROR")["items"]
    assert failed
    assert [line.split()[0] for line in output.splitlines()] == [*(vm["vm_name"] for vm in failed), "OPEN"]


def test_a_test_of_ones_own(tmp_path: Path) -> None:
    """The example of a test passes, in a folder of its own."""
    (example,) = [block for block in blocks(PAGE) if "def test_" in block]
    (tmp_path / "test_example.py").write_text(example)
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp=folders")
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


def test_what_is_no_program_is_right_as_well(tmp_path: Path) -> None:
    """All blocks of both pages are well-typed; what they import was looked at by `make check`, as a rule."""
    for number, block in enumerate(blocks(README) + blocks(PAGE)):
        (tmp_path / f"block_{number}.py").write_text(block)
    command = (sys.executable, "-m", "mypy", "--strict", str(tmp_path))
    ran = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert ran.returncode == 0, ran.stdout


async def _until_there_are(dsn: str, number: int) -> None:
    database = await asyncpg.connect(dsn)
    try:
        while True:
            if await database.fetchval("SELECT to_regclass('invoices')"):
                rows = await database.fetch("SELECT subject, change FROM invoices")
                if len(rows) == number:
                    return
            await asyncio.sleep(0.05)
    finally:
        await database.close()
