"""A DSN with several hosts, each with a time of its own: asyncpg's timeout spans them all, and one that says nothing
would use it up. The host that answered last is asked first. Must not know what the connections are for.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import asyncpg

from receiver.postgres.driver_errors import UNUSABLE


class Hosts:
    """Those of one DSN. Together they have the time to connect that is set."""

    def __init__(self, dsn: str, timeout_s: float) -> None:
        self._dsns = each_host(dsn)
        self._timeout_s = timeout_s / len(self._dsns)

    async def connect(self, *_: object, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
        """A connection to the first that can be used. Raises what the last of them said. (A pool gives the DSN too.)"""
        *others, last = self._dsns
        for dsn in others:
            try:
                return await self._connect(dsn, options)
            except UNUSABLE:  # away, full, starting, or (`target_session_attrs`) not the one wanted
                continue
        return await self._connect(last, options)

    async def _connect(self, dsn: str, options: dict[str, Any]) -> asyncpg.Connection[asyncpg.Record]:
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(dsn, timeout=self._timeout_s, **options)
        self._dsns.sort(key=lambda one: one != dsn)
        return connection


def each_host(dsn: str) -> list[str]:
    """The DSN once for each host in its authority; where hosts are told in another way, as it is."""
    try:
        url = urlsplit(dsn)
    except ValueError:  # asyncpg will say so
        return [dsn]
    if "," not in url.netloc:
        return [dsn]
    account, at, hosts = url.netloc.rpartition("@")
    return [url._replace(netloc=f"{account}{at}{host}").geturl() for host in hosts.split(",")]
