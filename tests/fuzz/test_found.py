"""The properties hold for what broke one once, and for a few thousand inputs; and they can fail."""

from __future__ import annotations

import asyncio

import pytest

from tests.fuzz import redaction, spool_files
from tests.fuzz.drawn import run
from tests.fuzz.targets import TARGETS, found

RUNS = {"redaction": 500, "spool": 3, "spool-pages": 20, "heads": 100, "packed": 500}
SECONDS_MAX = 60


@pytest.mark.parametrize("name", TARGETS)
async def test_what_broke_a_property_once_does_not_any_more(name: str) -> None:
    """Whatever `make fuzz` found is kept as a file."""
    for path in found(name):
        await asyncio.to_thread(TARGETS[name].holds, path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
async def test_the_property_holds(name: str) -> None:
    """For the same inputs in every run."""
    target = TARGETS[name]
    count, broken = await asyncio.to_thread(
        run, target, list(target.seeds()), RUNS.get(name, 1000), SECONDS_MAX, 1, target.bytes_max
    )
    assert broken is None
    assert count


class Blind:
    """Finds nothing."""

    def redact(self, body: bytes) -> tuple[bytes, bool]:
        """Nothing is secret."""
        return body, False


class Restless:
    """Finds something each time."""

    def redact(self, body: bytes) -> tuple[bytes, bool]:
        """All is secret."""
        return body + b"*", True


@pytest.mark.parametrize("worse", [Blind(), Restless()])
def test_redaction_that_fails_is_noticed(worse: Blind | Restless, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that finds nothing, or more each time."""
    monkeypatch.setattr(redaction, "REDACTOR", worse)
    with pytest.raises(AssertionError):
        redaction.redaction(b"\xff<a><password>hunter2</password></a>")


def test_a_spool_that_gives_what_was_never_put_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its content, whatever its checksum says."""
    rows, files = spool_files._original()
    monkeypatch.setattr(spool_files, "_original", lambda: (frozenset(list(rows)[1:]), files))
    for holds in (spool_files.spool_pages, spool_files.spool):
        with pytest.raises(AssertionError):
            holds(b"")
