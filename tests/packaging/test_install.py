"""What the pages say to install can be installed: their own lines, in bare environments, from the index as pip has it.

Skipped where pip reaches no index. Must not use anything of the environment that the tests run in but its pip: the one
that Python brings is years older, and needs three times as long to look through an index.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from receiver import __version__
from tests.support.program import CHECKOUT

SMALL = "editables"
DOCS = CHECKOUT / "docs"
ALONE = {
    name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "ESC_"))
} | {"PIP_COMPILE": "no", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def outcome(command: Sequence[str | Path], folder: Path) -> tuple[int, str]:
    """Exit status of a program, and what it said."""
    told = subprocess.run(command, cwd=folder, env=ALONE, capture_output=True, text=True, check=False)  # noqa: S603 - our own pages' lines
    return told.returncode, told.stdout + told.stderr


def ran(command: Sequence[str | Path], folder: Path) -> str:
    """What a program said; it must end well."""
    status, said = outcome(command, folder)
    assert status == 0, f"{command}\n{said}"
    return said


@pytest.fixture(scope="module", autouse=True)
def _index(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("index")
    status, _ = outcome([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, SMALL], folder)
    if status:
        pytest.skip("pip reaches no index")


def lines(page: Path, word: str) -> list[str]:
    """The indented block of a page that has this word."""
    (found,) = [
        block for block in re.findall(r"(?:^    .*\n)+", page.read_text("utf-8"), re.MULTILINE) if word in block
    ]
    return [line.partition(" # ")[0].strip() for line in found.splitlines()]


def bare(folder: Path) -> Path:
    """A new environment with nothing but pip; where its programs are."""
    programs = folder / "bin"
    ran([sys.executable, "-m", "venv", "--without-pip", folder], folder.parent)
    found = find_spec("pip")
    assert found
    assert found.origin
    command = [str(programs / "python"), str(Path(found.origin).with_name("__pip-runner__.py"))]
    (programs / "pip").write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    (programs / "pip").chmod(0o755)
    return programs


def test_the_recipe_of_the_service(tmp_path: Path) -> None:
    """As docs/operations.md has it, up to systemd's files; what a command lacks can be had as its error says."""
    first, *others = lines(DOCS / "operations.md", "image.lock")
    assert first == "python3 -m venv /opt/esc-receiver"
    programs = bare(tmp_path / "opt")
    recipe = "\n".join(others)
    steps = recipe[: recipe.index("install -m")].replace("/opt/esc-receiver", str(tmp_path / "opt"))
    ran(["/bin/sh", "-euc", steps], CHECKOUT)
    assert ran([programs / "esc-receiver", "--version"], tmp_path).strip() == f"esc-receiver, version {__version__}"
    ran([programs / "esc-receiver", "migrate", "--help"], tmp_path)
    status, said = outcome([programs / "esc-receiver", "demo"], tmp_path)
    assert status == 2, said
    (extra,) = re.findall(r"pip install '([^']+)'", said)
    ran([programs / "pip", "install", "-q", extra], tmp_path)
    ran([programs / "esc-receiver", "demo", "--duration", "0.1", "--port", "0"], tmp_path)


def test_the_wheels_and_the_fixture(tmp_path: Path) -> None:
    """Built as docs/operations.md says, installed with the extras of docs/consumers.md; the example there passes."""
    programs = bare(tmp_path / "venv")
    (build,) = re.findall(r"`(pip wheel [^`]+)`", (DOCS / "operations.md").read_text("utf-8"))
    ran([programs / "pip", *build.replace("-w dist", f"-q -w {tmp_path / 'dist'}").split()[1:]], CHECKOUT)
    (install,) = lines(DOCS / "consumers.md", "embedded,emulator")
    client, service = (
        next((tmp_path / "dist").glob(f"{name}-*.whl")) for name in ("esc_receiver_client", "esc_receiver")
    )
    wanted = install.replace("'./client'", str(client)).replace("'.[", f"'{service}[")
    assert wanted != install
    ran(["/bin/sh", "-euc", f"{programs}/{wanted} -q"], tmp_path)
    assert ran([programs / "esc-receiver", "--version"], tmp_path).strip() == f"esc-receiver, version {__version__}"
    (example,) = re.findall(
        r"```python\n((?:(?!```).)*def test_.*?)```", (DOCS / "consumers.md").read_text(), re.DOTALL
    )
    (tmp_path / "test_example.py").write_text(example)
    assert "1 passed" in ran([programs / "pytest", "-q", "-p", "no:cacheprovider", "test_example.py"], tmp_path)


def test_the_kit_for_consumers(tmp_path: Path) -> None:
    """Each line of its README, the first as in docs/consumers.md; nothing of the receiver comes with it."""
    programs = bare(tmp_path / "venv")
    told = lines(CHECKOUT / "client" / "README.md", "pip install")
    assert told[0:1] == lines(DOCS / "consumers.md", "install ./client")
    assert len(told) == 3
    for line in told:
        ran(["/bin/sh", "-euc", f"{programs}/{line} -q"], CHECKOUT)
    ran([programs / "python", "-c", "from esc_receiver_client import EscFeed, PostgresInbox"], tmp_path)
    assert "\nesc-receiver " not in ran([programs / "pip", "list"], tmp_path)
