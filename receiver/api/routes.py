"""The query API as a part of the service: `Api` mounts the endpoints and answers them.

`run` follows the ledger beside the requests, `stop` ends those that wait. It must not know SQL.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
from aiohttp import web

from receiver.api import dead_letter_groups, entity_lists, ledger_lists
from receiver.api.answers import json_answer, raw, single
from receiver.api.api_errors import NothingFoundError
from receiver.api.asking import Asking
from receiver.api.consumer_list import ListConsumers, consumers
from receiver.api.desk import Desk
from receiver.api.documents import Docs
from receiver.api.endpoint import PREFIX, Endpoint
from receiver.api.endpoints import catalogue
from receiver.api.entity_lists import DEPLOYMENTS, OPERATIONS, RESOURCES, VMS, EntityList
from receiver.api.explanation import Explainer, FindMessage
from receiver.api.guard import Answer, Guard
from receiver.api.ledger_follower import LedgerFollower
from receiver.api.ledger_lists import CALLBACKS, TRANSITIONS, Ledger
from receiver.api.live_feed import LiveFeed
from receiver.api.operation_times import OperationTimesReader
from receiver.api.past import Past
from receiver.api.past_lists import PAST_DEPLOYMENTS, PAST_OPERATIONS, PAST_VMS, PastList
from receiver.api.rate_limits import RateLimits
from receiver.api.read_pool import Reader
from receiver.api.receipts import received_at
from receiver.api.row_shapes import callback_item, incarnation_items, received_bytes, transition_item
from receiver.api.search import search
from receiver.api.sessions import Sessions, TellEnded
from receiver.api.source_list import Sources
from receiver.api.stats import Stats
from receiver.api.tokens import Tokens
from receiver.api.waiters import Waiters
from receiver.api.webhook_desk import WebhookDesk
from receiver.config.settings import Settings
from receiver.events.cloudevents import item
from receiver.http.sender_address import SenderAddresses
from receiver.model.entities import Deployment, Vm
from receiver.model.entity_ids import entity_id
from receiver.observability.metrics import Metrics
from receiver.reconcile.reconciler import Reconciler
from receiver.replay.dead_letters import DeadLetters
from receiver.webhooks.commands import Commands

Connect = Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]
Query = Mapping[str, Any]
"""The values of a request's parameters, by name."""


class Api:
    """Answers requests about all that the receiver has stored."""

    def __init__(
        self,
        connect: Connect,
        settings: Settings,
        metrics: Metrics,
        find: FindMessage | None = None,
        list_consumers: ListConsumers | None = None,
        tell_session_ended: TellEnded | None = None,
        dead_letters: DeadLetters | None = None,
        webhooks: Commands | None = None,
        reconciler: Reconciler | None = None,
    ) -> None:
        """`connect` opens the connection on which the ledger is followed; the next two look into the feed's stream."""
        self._list_consumers = list_consumers
        self._settings = settings
        self._endpoints = catalogue(settings)
        for endpoint in self._endpoints:  # known label sets start at zero
            metrics.queries.labels(endpoint.name, "200")
            metrics.query_seconds.labels(endpoint.name)
        self._tokens = tokens = Tokens(
            settings.read_tokens, settings.session_s, settings.sessions_ended_max,
            SenderAddresses(settings.trusted_proxies).is_local,
        )  # fmt: skip
        self._reader = Reader(settings)
        self._waiters = Waiters(self._reader, settings, metrics)
        self._follower = LedgerFollower(connect, settings, metrics, self._waiters.notify)
        self._guard = Guard(tokens, RateLimits(settings.query_rate_per_s), metrics, settings)
        self._docs = Docs(self._endpoints, is_open=tokens.open)
        self._sources = Sources(self._reader, settings)
        self._times = OperationTimesReader(self._reader, settings)
        self._explainer = Explainer(self._reader, settings, self._sources, self._times, find)
        self._stats = Stats(self._reader)
        self._past = Past(self._reader, settings)
        sessions = Sessions(tokens, settings, tell_session_ended)
        desk = Desk(dead_letters, settings)
        webhook_desk = WebhookDesk(webhooks, settings)
        self._answers: Mapping[str, Answer] = {
            "deployments": partial(self._entities, DEPLOYMENTS, PAST_DEPLOYMENTS),
            "vms": partial(self._entities, VMS, PAST_VMS),
            "resources": partial(self._entities, RESOURCES, None),
            "operations": self._operations,
            "deployment": self._deployment,
            "vm": self._vm,
            "operation": self._operation,
            "callbacks": partial(self._ledger, CALLBACKS, callback_item),
            "callback": self._callback,
            "callback_raw": self._callback_raw,
            "transitions": partial(self._ledger, TRANSITIONS, transition_item),
            "quarantine": self._quarantine,
            "acknowledge": desk.acknowledge,
            "replay": desk.replay,
            "reconcile": Asking(reconciler, settings).reconcile,
            "sources": self._all_sources,
            "consumers": self._consumers,
            "source": self._source,
            "webhooks": webhook_desk.all,
            "enable_webhook": webhook_desk.enable,
            "resend_webhook": webhook_desk.resend,
            "test_webhook": webhook_desk.test,
            "search": self._search,
            "explain": self._explain,
            "stats": self._count,
            "feed": LiveFeed(self._follower, self._reader, tokens, settings).serve,
            "session": sessions.show,
            "log_in": sessions.begin,
            "log_out": sessions.end,
        }

    def routes(self) -> list[web.RouteDef]:
        """All endpoints, and the documents about them."""
        return [*map(self._route, self._endpoints), *self._docs.routes()]

    def _route(self, endpoint: Endpoint) -> web.RouteDef:
        handler = self._guard.handler(endpoint, self._answers[endpoint.name])
        # By itself `{name}` takes no braces, and a name may hold any character.
        path = PREFIX + re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", endpoint.path)
        if endpoint.method == "GET":
            return web.get(path, handler, allow_head=endpoint.name != "feed")
        return web.route(endpoint.method, path, handler)

    async def open(self) -> None:
        """Make the pool of reading connections. Raises SettingsError."""
        await self._reader.open()

    @property
    def listening(self) -> asyncio.Event:
        """Set while notifications of commits arrive; else waits and feed are late, but lose nothing."""
        return self._follower.listening

    async def run(self) -> None:
        """Follow the ledger, until cancelled. Needs the schema."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follower.run())
            group.create_task(self._waiters.run())

    async def stop(self, _: web.Application | None = None) -> None:
        """End waits and feeds, so that the server can close its connections."""
        self._waiters.stop()
        self._follower.stop()

    def end_session(self, cookie: str) -> None:
        """A session of the board was ended at another worker."""
        self._tokens.end_session(cookie)

    def close(self) -> None:
        """Drop the reading connections."""
        self._reader.close()

    # The answers.

    async def _entities(self, now: EntityList, past: PastList | None, _: web.Request, query: Query) -> web.Response:
        if past and query["at"]:
            return json_answer(await self._past.page(past, query))
        return json_answer(await entity_lists.page(self._reader, now, query))

    async def _operations(self, _: web.Request, query: Query) -> web.Response:
        if query["at"]:
            return json_answer(await self._past.page(PAST_OPERATIONS, query))
        times = await self._times.now()
        return json_answer(await entity_lists.page(self._reader, OPERATIONS, query, times.shown))

    async def _ledger(
        self, ledger: Ledger, to_item: Callable[[asyncpg.Record], Any], _: web.Request, query: Query
    ) -> web.Response:
        rows, after = await ledger_lists.page(self._reader, self._settings, ledger, query)
        answer: dict[str, Any] = {"items": [to_item(row) for row in rows], "next": str(after) if after else None}
        if query["total"]:
            answer["total"] = await ledger_lists.total(self._reader, self._settings, ledger, query)
        return json_answer(answer)

    async def _deployment(self, request: web.Request, query: Query) -> web.Response:
        if query["at"]:
            return single(request, await self._past.deployment(query))
        vms_max = self._settings.query_items_max
        async with self._reader.snapshot() as snapshot:
            row = await snapshot.row("deployment", query["source"], query["deployment"], query["incarnation"])
            if row is None:
                raise NothingFoundError("no deployment of this id is known")
            rows = await snapshot.rows("vms_of_a_deployment", row["id"], vms_max + 1)
        vms = [item(Vm(*vm)) for vm in rows[:vms_max]]
        return single(request, {**item(Deployment(*row)), "vms": vms, "vms_truncated": len(rows) > vms_max})

    async def _vm(self, request: web.Request, query: Query) -> web.Response:
        if query["at"]:
            return single(request, await self._past.vm(query))
        async with self._reader.snapshot() as snapshot:
            row = await snapshot.row("vm", query["source"], query["vm_name"], query["deployment"])
            if row is None:
                raise NothingFoundError("no VM of this name is known")
            rows = await snapshot.rows("incarnations_of_a_vm", query["source"], query["vm_name"], row["deployment"])
            instances = await snapshot.rows("instances_of_vms", [one["id"] for one in rows])
        number = next((one["incarnation"] for one in rows if one["id"] == row["id"]), None)
        incarnations = incarnation_items(rows, instances)
        return single(request, {**item(Vm(*row)), "incarnation": number, "incarnations": incarnations})

    async def _operation(self, request: web.Request, query: Query) -> web.Response:
        if query["at"]:
            return single(request, await self._past.operation(query))
        operation_id = entity_id("operation", query["source"], query["transaction_id"])
        operation = await self._waiters.wait(operation_id, query["wait"], lambda: request.transport is None)
        if operation is None:
            raise NothingFoundError("nothing was heard of this transaction")
        progress = {
            "expected": operation.vms_seen,
            "deployed": operation.vms_deployed,
            "alive": operation.vms_alive,
            "failed": operation.vms_failed,
        }
        times = await self._times.now()
        return single(request, {**times.shown(operation), "progress": progress})

    async def _callback(self, request: web.Request, query: Query) -> web.Response:
        row = await self._callback_row("callback", query["receipt"])
        headers = row["headers"]
        return single(request, {**callback_item(row), "headers": headers, "received_bytes": received_bytes(headers)})

    async def _callback_raw(self, _: web.Request, query: Query) -> web.Response:
        row = await self._callback_row("raw", query["receipt"])
        return raw(query["receipt"], row["body"], unreadable=row["unreadable"])

    async def _callback_row(self, statement: str, receipt: UUID) -> asyncpg.Record:
        row = await self._reader.row(statement, receipt, received_at(receipt))
        if row is None:
            raise NothingFoundError("no callback has this receipt, or it is past its retention")
        return row

    async def _quarantine(self, _: web.Request, query: Query) -> web.Response:
        return json_answer(await dead_letter_groups.groups(self._reader, query))

    async def _consumers(self, _: web.Request, __: Query) -> web.Response:
        return json_answer({"items": await consumers(self._list_consumers)})

    async def _all_sources(self, _: web.Request, __: Query) -> web.Response:
        return json_answer(await self._sources.document())

    async def _source(self, request: web.Request, query: Query) -> web.Response:
        return single(request, await self._sources.one(query["source"]))

    async def _search(self, _: web.Request, query: Query) -> web.Response:
        return json_answer(await search(self._reader, query["q"], query["limit"]))

    async def _explain(self, _: web.Request, query: Query) -> web.Response:
        return json_answer(await self._explainer.explain(query["source"], query["vm_name"], query["deployment"]))

    async def _count(self, _: web.Request, query: Query) -> web.Response:
        if query["at"]:
            return json_answer(await self._past.count(query["at"]))
        return json_answer(await self._stats.count())
