"""The fixture `esc_lab`: pytest knows it by itself, and what is asked wrongly of it is an error at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nats
import pytest

from esc_lab.fixtures import EscLab, LabError

HEAVY = ("aiohttp", "asyncpg", "httpx2", "esc_lab.emulator", "receiver.app")


@pytest.mark.parametrize("fault", ["vm-fials", "double "])
def test_a_misspelt_fault_raises(esc_lab: EscLab, fault: str) -> None:
    """Else the test would go on without it, and prove nothing; the error says which there are."""
    for way in ("next", "chances"):
        with pytest.raises(LabError, match="vm-fails"):
            esc_lab.make("faults", {way: {fault: 1}})
    assert esc_lab.make("faults", method="GET")["next"] == {}


def test_what_nobody_has_heard_of_raises(esc_lab: EscLab) -> None:
    """An operation, a deployment, a path, a transaction that a refusal has not."""
    with pytest.raises(LabError, match="404"):
        esc_lab.wait("nobody", timeout_s=0.1)
    with pytest.raises(LabError, match="404"):
        esc_lab.query("deployments/default/nothing")
    with pytest.raises(LabError, match="404"):
        esc_lab.make("vms/nothing/die")
    refused = esc_lab.request("POST", "/v0/deployments/one", "<nothing/>")
    assert refused.status >= 400
    with pytest.raises(LabError, match=str(refused.status)):
        assert refused.transaction


async def test_its_addresses_are_whole(esc_lab: EscLab) -> None:
    """A client needs no more than the URL."""
    client = await nats.connect(esc_lab.nats_url)
    await client.jetstream().account_info()  # raises for who may not ask
    assert client.is_connected
    await client.close()


def test_pytest_knows_it_and_imports_nothing_else_for_it(tmp_path: Path) -> None:
    """In a test suite of anything: neither a conftest.py nor time is asked for."""
    (tmp_path / "test_one.py").write_text(
        f"import sys\n\ndef test_one(pytestconfig):\n    assert not [name for name in {HEAVY} if name in sys.modules]\n"
        "    assert pytestconfig.pluginmanager.get_plugin('esc_lab.fixtures')\n"
    )
    for conftest in ("", 'pytest_plugins = ["esc_lab.fixtures"]\n'):
        (tmp_path / "conftest.py").write_text(conftest)
        off = [
            option for name in ("cacheprovider", "anyio", "aiohttp", "schemathesis") for option in ("-p", f"no:{name}")
        ]
        command = (sys.executable, "-m", "pytest", "-q", *off, "--basetemp=folders")
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603 - our own
        assert ran.returncode == 0, ran.stdout + ran.stderr
