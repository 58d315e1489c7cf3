"""The stream in which JetStream joins those of all cells: made, compared with what it should be, and brought to it.

JetStream itself copies (`sources`), in order, and turns the subjects of a cell into those of the one feed. Must not
know what is published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nats.aio.client import Client

from receiver.config.cell_file import Cells
from receiver.config.settings import Settings
from receiver.errors import StreamRefusedError
from receiver.observability.metrics import Metrics
from receiver.publishing.broker import Broker
from receiver.publishing.jetstream_api import NO_STREAM, JetStreamError, call_api
from receiver.publishing.stream_setup import feed_plan


class Joined(NamedTuple):
    """How it stood against the file, and what it should be."""

    stream: str
    changes: Sequence[str]
    """One line each; none: all is as it should be."""
    config: Mapping[str, Any]
    exists: bool

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "stream": self.stream,
            "exists": self.exists,
            "changes": list(self.changes),
            "config": dict(self.config),
        }


class JoinedStream:
    """One connection's view of it."""

    def __init__(self, client: Client, cells: Cells, settings: Settings) -> None:
        self._client = client
        self._cells = cells
        self._settings = settings

    async def compared(self, *, may_remove: bool = False) -> Joined:
        """What would have to change. Raises StreamRefusedError when that cannot be done without losing something."""
        for cell in self._cells.cells:
            await self._require_cell(cell)
        now = await self._config(self._cells.stream)
        wanted = self._wanted(now or {})
        if now is None:
            return Joined(
                self._cells.stream, [f"stream {self._cells.stream} is made", *_added(wanted, {})], wanted, False
            )
        self._require_joined(now)
        if not may_remove:
            self._require_no_less(now)
        return Joined(self._cells.stream, _differences(now, wanted), wanted, True)

    async def bring(self, joined: Joined) -> None:
        """Make it so."""
        verb = "UPDATE" if joined.exists else "CREATE"
        await self._ask(f"STREAM.{verb}.{joined.stream}", joined.config)

    def _wanted(self, now: Mapping[str, Any]) -> dict[str, Any]:
        """Fields that are not ours to set stay as they are."""
        plan = feed_plan(self._settings)
        sources = [self._source(cell, now) for cell in self._cells.cells]
        made = plan.created_with | {"name": self._cells.stream, "description": "Feed of all cells of esc-receiver"}
        return {**made, **now, **plan.limits, "sources": sources}

    def _source(self, cell: str, now: Mapping[str, Any]) -> dict[str, Any]:
        """Where it is a source already, what JetStream added to it stays: by that it knows how far it has come."""
        name = self._cells.stream_of(cell)
        before: Mapping[str, Any] = next((one for one in now.get("sources") or () if one["name"] == name), {})
        turned = {"src": f"{self._cells.prefix_of(cell)}.>", "dest": f"{self._cells.subject_prefix}.>"}
        return {**before, "name": name, "subject_transforms": [turned]}

    async def _require_cell(self, cell: str) -> None:
        name, prefix = self._cells.stream_of(cell), self._cells.prefix_of(cell)
        config = await self._config(name)
        told = f"STREAM_NAME={name}, SUBJECT_PREFIX={prefix} and a KV_BUCKET of its own"
        if config is None:
            raise StreamRefusedError(f"there is no stream {name}: start the receivers of cell {cell} with {told}")
        if config.get("subjects") != [f"{prefix}.>"]:
            raise StreamRefusedError(f"stream {name} has other subjects: cell {cell} needs {told}")

    def _require_joined(self, now: Mapping[str, Any]) -> None:
        if now.get("subjects"):
            raise StreamRefusedError(
                f"stream {self._cells.stream} takes messages itself ({', '.join(now['subjects'])}), as that of a "
                "single cell does; name another `stream` in the file"
            )

    def _require_no_less(self, now: Mapping[str, Any]) -> None:
        names = {self._cells.stream_of(cell) for cell in self._cells.cells}
        if gone := sorted({one["name"] for one in now.get("sources") or ()} - names):
            raise StreamRefusedError(
                f"{', '.join(gone)} would be joined no more, and given whole again if it came back: --remove, "
                "if so meant"
            )

    async def _config(self, stream: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = (await self._ask(f"STREAM.INFO.{stream}", {}))["config"]
        except JetStreamError as error:
            if error.err_code != NO_STREAM:
                raise
            return None
        return found

    async def _ask(self, verb: str, request: Mapping[str, Any]) -> dict[str, Any]:
        return await call_api(self._client, verb, request, self._settings.publish_timeout_s)


def _differences(now: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    before = {one["name"]: one for one in now.get("sources") or ()}
    after = {one["name"] for one in wanted["sources"]}
    changed = [f"{name} is {now.get(name)}, becomes {value}" for name, value in wanted.items()
               if name != "sources" and now.get(name) != value]  # fmt: skip
    return [*changed, *_added(wanted, before), *(f"{name} is joined no more" for name in before if name not in after)]


def _added(wanted: Mapping[str, Any], before: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for one in wanted["sources"]:
        (turned,) = one["subject_transforms"]
        words = f"{one['name']}, its {turned['src']} as {turned['dest']}"
        if one["name"] not in before:
            lines.append(f"joined: {words}")
        elif before[one["name"]].get("subject_transforms") != one["subject_transforms"]:
            lines.append(f"joined otherwise: {words}")
    return lines


async def joined(cells: Cells, settings: Settings, *, dry_run: bool, may_remove: bool) -> Joined:
    """Compare and, unless it is a dry run, bring it to what the file says; what there was to change."""
    broker = Broker(settings, Metrics())
    try:
        stream = JoinedStream(await broker.client(), cells, settings)
        found = await stream.compared(may_remove=may_remove)
        if found.changes and not dry_run:
            await stream.bring(found)
        return found
    finally:
        await broker.close()
