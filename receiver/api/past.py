"""`?at=`: lists, single things and counts as they were at a moment, and which moments can be asked for.

A moment to come is a wrong parameter. One before the oldest entry that is kept cannot be answered: what happened since
is not all known. This file must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg

from receiver.api.api_errors import ForgottenError, NothingFoundError, ParameterError
from receiver.api.past_lists import PAST_DEPLOYMENTS, PAST_OPERATIONS, PAST_VMS, PastList, PastPage
from receiver.api.read_pool import Reader, Snapshot
from receiver.config.settings import Settings

ALL: Mapping[str, Any] = {"limit": 1_000, "order": None}
"""Of what has one name, in several incarnations."""


class Past:
    """Answers from the ledger. All methods raise UnavailableError, ParameterError and ForgottenError."""

    def __init__(self, reader: Reader, settings: Settings) -> None:
        self._reader = reader
        self._scan_rows_max = settings.query_scan_rows_max
        self._items_max = settings.query_items_max

    async def page(self, past: PastList, query: Mapping[str, Any]) -> dict[str, Any]:
        """One page: `items`, the cursor of the `next` one or None, the moment, and if it is asked for the `total`."""
        _check(past, query)
        asked = PastPage(past, query, self._scan_rows_max)
        async with self._reader.snapshot() as snapshot:
            rows = await _fetch(snapshot, asked.rows)
            end = [] if len(rows) > asked.limit else await _fetch(snapshot, asked.scan_end)
            answer = {
                "items": [_item(past, row) for row in rows[: asked.limit]],
                "next": _next(past, asked, rows, end),
                "at": query["at"],
            }
            if query["total"]:
                whole = PastPage(past, {**query, "cursor": None}, self._scan_rows_max)
                ((matching, may_be_more),) = await _fetch(snapshot, whole.total)
                answer["total"] = None if may_be_more else matching
            await _check_kept(snapshot, query["at"])
        return answer

    async def count(self, at: datetime) -> dict[str, Any]:
        """How many were in which state. Those of an order other than that of arrival are counted as they arrived."""
        check_moment(at)
        counts: dict[str, dict[str, int]] = {"deployments": {}, "vms": {}, "operations": {}}
        async with self._reader.snapshot() as snapshot:
            counted = await snapshot.row("counted_day", at, await _kept_since(snapshot))
            for row in await snapshot.rows("counts_then", at, counted and counted["day"]):
                counts[row["kind"]][row["state"]] = row["rows"]
            await _check_kept(snapshot, at)
        return {"at": at, **counts}

    async def deployment(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """The incarnation that was the latest, or the one asked for, with its VMs. Raises NothingFoundError."""
        number = query["incarnation"]
        found = await self._all(PAST_DEPLOYMENTS, query, "source", "deployment")
        one = next((one for one in found if (one["current"] if number is None else one["incarnation"] == number)), None)
        if one is None:
            raise NothingFoundError("no deployment of this id was known then")
        asked = PastPage(
            PAST_VMS, {"at": query["at"], "limit": self._items_max}, self._scan_rows_max, deployment_id=one["id"]
        )
        sql, values = asked.rows
        rows = await self._reader.fetch(sql, *values)
        vms = [_item(PAST_VMS, row) for row in rows[: self._items_max]]
        return {**one, "vms": vms, "vms_truncated": len(rows) > self._items_max}

    async def vm(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """The VM of this name that lived, else the one that had changed last. Raises NothingFoundError."""
        found = await self._all(PAST_VMS, query, "source", "vm_name", "deployment")
        if not found:
            raise NothingFoundError("no VM of this name was known then")
        return max(found, key=lambda vm: (vm["ended_at"] is None, vm["changed_at"] or vm["first_seen_at"]))

    async def operation(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """One operation. Raises NothingFoundError."""
        if query["wait"]:
            raise ParameterError("wait", "what was does not change: with `at` there is nothing to wait for")
        found = await self._all(PAST_OPERATIONS, query, "source", "transaction_id")
        if not found:
            raise NothingFoundError("nothing had been heard of this transaction")
        return found[0]

    async def _all(self, past: PastList, query: Mapping[str, Any], *names: str) -> list[dict[str, Any]]:
        """What these parameters name."""
        named = {name: query[name] for name in names if query.get(name) is not None}
        page = await self.page(past, {**ALL, **named, "at": query["at"], "total": False})
        items: list[dict[str, Any]] = page["items"]
        return items


def check_moment(at: datetime) -> None:
    """Raises ParameterError for one that is still to come."""
    if at > datetime.now(UTC):
        raise ParameterError("at", "is still to come; what is now is told without it")


async def _kept_since(snapshot: Snapshot) -> datetime | None:
    row = await snapshot.row("ledger_kept_since")
    return row["since"] if row else None


async def _check_kept(snapshot: Snapshot, at: datetime) -> None:
    """To be asked last: what was dropped while the ledger was read is noticed then."""
    since = await _kept_since(snapshot)
    if since and at < since:
        raise ForgottenError(f"entries of that time are not kept any more; the first moment is {since:%Y-%m-%d}", since)


def _check(past: PastList, query: Mapping[str, Any]) -> None:
    check_moment(query["at"])
    if past.now.newest_first(query) and past.now.time != "first_seen_at":
        raise ParameterError("order", "with `at` this list is ordered by key alone")


async def _fetch(snapshot: Snapshot, statement: tuple[str, list[Any]]) -> list[asyncpg.Record]:
    sql, values = statement
    return await snapshot.fetch(sql, *values)


def _item(past: PastList, row: asyncpg.Record) -> dict[str, Any]:
    return {name: row[name] for name in past.types}


def _next(past: PastList, asked: PastPage, rows: list[asyncpg.Record], end: Iterable[asyncpg.Record]) -> str | None:
    """After the last item shown when there are more; else after the last row that was looked through."""
    last = rows[asked.limit - 1] if len(rows) > asked.limit else next(iter(end), None)
    return past.now.cursor(dict(last), newest=asked.newest) if last else None
