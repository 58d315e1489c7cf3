"""Figures as a scrape shows them, and Prometheus's own tools to judge them by."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from receiver.api.routes import Api
from receiver.config.settings import Settings
from receiver.observability.metrics import Metrics
from receiver.postgres.database import Database


def everything(sources: Iterable[str] = ("default",)) -> CollectorRegistry:
    """All metrics of the service, nothing counted yet."""
    settings, metrics = Settings(), Metrics(sources)
    Api(Database(settings, metrics).connect, settings, metrics)
    return metrics.registry


def samples(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """All figures of one name, by their label values."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def installed(program: str, package: str = "prometheus") -> Path:
    """Where it is; skips the test where it is not."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed (Debian's package {package})")
    return Path(path)


def named_in(expr: str) -> set[str]:
    """The metrics of ours that an expression asks for; of a histogram, the name of its family."""
    found = re.findall(r"\besc_receiver_\w+", expr)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in found}


async def run_with_input(program: Path, given: bytes, *arguments: str | Path) -> tuple[int, str]:
    """Run it to its end: exit status, and what it said."""
    process = await asyncio.create_subprocess_exec(
        program, *map(str, arguments), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate(given)
    assert process.returncode is not None
    return process.returncode, said.decode()
