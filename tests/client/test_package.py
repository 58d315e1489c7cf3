"""The wheel of the kit: it installs beside nothing but what it says it needs, and is typed."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import get_args

import pytest

import esc_receiver_client as kit
from esc_receiver_client.snapshot import BEHIND_MAX
from receiver.config.settings import Settings
from tests.support.program import CHECKOUT
from tools.docs.client_models import renew

CLIENT = CHECKOUT / "client"
USE = """
import esc_receiver_client as kit
from importlib.metadata import version
assert version("esc-receiver-client") == kit.__version__
kit.EscFeed("nats://127.0.0.1"), kit.SyncEscReceiver("http://127.0.0.1"), kit.PostgresInbox("billing")
print("usable")
"""


def test_the_models_are_as_the_schemas_are() -> None:
    """Else: `make docs`."""
    assert not renew(checking=True)


def test_every_name_of_the_kit_is_there() -> None:
    """Each is imported when it is asked for, and there is no other."""
    found = {name: getattr(kit, name) for name in kit.__all__}
    assert kit.OtherEvent in get_args(found.pop("Data"))
    assert [name for name, one in found.items() if one.__name__ != name] == []
    assert set(kit.__all__) <= set(dir(kit))
    assert not hasattr(kit, "Nonsense")


def test_the_snapshot_looks_back_as_far_as_a_batch_may_reach() -> None:
    """What the bucket may be behind the stream (`publish_batch_max`)."""
    limits = [limit.le for limit in Settings.model_fields["publish_batch_max"].metadata if hasattr(limit, "le")]
    assert limits == [BEHIND_MAX]


def test_the_wheel_is_usable_with_what_it_says_it_needs(tmp_path: Path) -> None:
    """In a bare environment with these distributions, as installed here, and no other."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=CLIENT, check=True, capture_output=True)  # noqa: S603 - our own build
    (wheel,) = tmp_path.glob("*.whl")
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)  # noqa: S603 - our own
    (site,) = environment.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    assert (site / "esc_receiver_client" / "py.typed").exists()
    for needed in _needed("esc-receiver-client"):
        _link(distribution(needed), site)
    ran = subprocess.run(  # noqa: S603 - our own
        [environment / "bin" / "python", "-I", "-c", USE], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "usable\n"), ran.stderr


def test_it_asks_for_little() -> None:
    """Three distributions; the rest are extras."""
    wanted = [text for text in distribution("esc-receiver-client").requires or () if "extra ==" not in text]
    assert sorted(re.split(r"[^\w-]", text)[0] for text in wanted) == ["httpx2", "nats-py", "pydantic"]


@pytest.mark.parametrize("word", ["receiver", "asyncpg"])
def test_nothing_else_is_imported(word: str, tmp_path: Path) -> None:
    """For people who have no receiver, and no PostgreSQL."""
    code = (
        f"import sys; from esc_receiver_client import *; print([m for m in sys.modules if m.split('.')[0] == '{word}'])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)  # noqa: S603
    assert ran.stdout == "[]\n"


def _needed(name: str) -> set[str]:
    """All distributions that it needs, without its extras."""
    from packaging.requirements import Requirement  # noqa: PLC0415

    found: set[str] = set()
    waiting = [name]
    while waiting:
        for text in distribution(waiting.pop()).requires or ():
            one = Requirement(text)
            if one.name not in found and (one.marker is None or one.marker.evaluate({"extra": ""})):
                found.add(one.name)
                waiting.append(one.name)
    return found


def _link(installed: Distribution, site: Path) -> None:
    for top in {Path(str(file)).parts[0] for file in installed.files or ()} - {".."}:
        source = Path(str(installed.locate_file(top)))
        if source.exists() and not (site / top).exists() and top != "__pycache__":
            (site / top).symlink_to(source)
