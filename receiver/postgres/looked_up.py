"""Deployments that a message does not call by their internal id: found by external id, or by tenant and name.

So in notifications of the NETCONF stream. What is not found keeps the name that the parser gave it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import asyncpg

from receiver.model.notification import DeploymentReport
from receiver.parsing.parsed_callback import ParsedCallback

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


async def look_up(connection: Connection, sql: str, callbacks: Sequence[ParsedCallback]) -> None:
    """Give these callbacks the internal id of the deployment they are about, also of one that another of them names."""
    wanted = [one for one in _reports(callbacks) if one[1].is_looked_up]
    if not wanted:
        return
    asked = [(source, of.external_id, of.internal_tenant_id, of.name) for _, of, source in wanted]
    rows = await connection.fetch(sql, *zip(*asked, strict=True))
    stored = {row["number"]: row["internal_deployment_id"] for row in rows}
    beside: dict[Any, str] = {}
    for _, of, source in _reports(callbacks):
        if not of.is_looked_up:
            beside |= dict.fromkeys(_names(source, of), of.internal_id)
    for number, (callback, of, source) in enumerate(wanted, 1):
        others = (beside[name] for name in _names(source, of) if name in beside)
        if (found := stored.get(number) or next(others, None)) and callback.notification:
            callback.notification = replace(callback.notification, deployment=replace(of, internal_id=found))


def _reports(callbacks: Sequence[ParsedCallback]) -> Iterator[tuple[ParsedCallback, DeploymentReport, str]]:
    for callback in callbacks:
        if (n := callback.notification) and n.deployment:
            yield callback, n.deployment, n.source


def _names(source: str, of: DeploymentReport) -> list[tuple[str, ...]]:
    """What else it goes by."""
    by_id = [(source, of.external_id)] if of.external_id else []
    by_name = [(source, of.internal_tenant_id, of.name)] if of.internal_tenant_id and of.name else []
    return [*by_id, *by_name]
