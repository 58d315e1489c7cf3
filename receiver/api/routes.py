"""The query API as a room of the service: `Api` mounts the catalogue and answers each endpoint.

One method for each, by the endpoint's name. `run` follows the ledger beside the requests, `stop` sends away those who
wait. It must not know SQL.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg
from aiohttp import web
from prometheus_client import CollectorRegistry

from receiver.api import entity_lists
from receiver.api.answers import as_json, raw, single
from receiver.api.api_errors import NothingFoundError
from receiver.api.api_metrics import Measures
from receiver.api.docs_page import Docs
from receiver.api.endpoints import PREFIX, catalogue
from receiver.api.entity_lists import DEPLOYMENTS, OPERATIONS, RESOURCES, VMS, Listing
from receiver.api.explanation import Explainer, FindMessage
from receiver.api.guard import Guard
from receiver.api.ledger_follower import Follower
from receiver.api.ledger_lists import CALLBACKS, TRANSITIONS, Pages
from receiver.api.live_feed import Feed
from receiver.api.openapi import document
from receiver.api.rate_limits import Limits
from receiver.api.read_pool import Reader
from receiver.api.receipts import received_at
from receiver.api.row_shapes import shown_callback, shown_incarnations, shown_transition, sql
from receiver.api.sessions import Sessions
from receiver.api.stats import Stats
from receiver.api.tokens import Tokens
from receiver.api.waiters import Waiters
from receiver.config.settings import Settings
from receiver.events.cloudevents import item
from receiver.model.entities import Deployment, Vm, entity_id

Connect = Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]
Asked = Mapping[str, Any]


class Api:
    """Answers questions about what the receiver knows."""

    def __init__(
        self, connect: Connect, settings: Settings, registry: CollectorRegistry, published: FindMessage | None = None
    ) -> None:
        """`connect` opens a connection apart, to follow the ledger on; `published` looks into the feed's stream."""
        self._settings = settings
        self._endpoints = catalogue(settings)
        measures = Measures(registry, (endpoint.name for endpoint in self._endpoints))
        tokens = Tokens(settings.read_tokens, settings.session_s)
        self._reader = Reader(settings)
        self._waiters = Waiters(self._reader, settings, measures)
        self._follower = Follower(connect, settings, measures, self._waiters.heard)
        self._guard = Guard(tokens, Limits(settings), measures, settings)
        self._sessions = Sessions(tokens, settings)
        self._explainer = Explainer(self._reader, settings, published)
        self._stats = Stats(self._reader)
        self._pages = Pages(self._reader, settings)
        self._docs = Docs(document(self._endpoints, is_open=tokens.open))
        self._feed = Feed(self._follower, self._reader, settings)
        self._sql = sql()

    def routes(self) -> list[web.RouteDef]:
        """All endpoints, and the documents that tell of them."""
        return [*map(self._route, self._endpoints), *self._docs.routes()]

    def _route(self, endpoint: Any) -> web.RouteDef:
        handler = self._guard.before(endpoint, getattr(self, endpoint.name))
        # By itself `{name}` takes no braces, and a name may hold any character.
        path = PREFIX + re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", endpoint.path)
        if endpoint.method == "GET":
            return web.get(path, handler, allow_head=endpoint.name != "feed")
        return web.route(endpoint.method, path, handler)

    async def open(self) -> None:
        """Make the reading connections' pool. Raises SettingsError."""
        await self._reader.open()

    @property
    def listening(self) -> asyncio.Event:
        """Set while commits are heard of as they happen; else waits and feed come late, but come."""
        return self._follower.listening

    async def run(self) -> None:
        """Follow the ledger, until cancelled. Needs the schema."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follower.run())
            group.create_task(self._waiters.run())

    async def stop(self, _: web.Application | None = None) -> None:
        """Send away those who wait and those who read the feed, so that the server can end its connections."""
        self._waiters.stop()
        self._follower.stop()

    def close(self) -> None:
        """Drop the reading connections."""
        self._reader.close()

    # What is now.

    async def deployments(self, _: web.Request, asked: Asked) -> web.StreamResponse:
        """A list."""
        return await self._listed(DEPLOYMENTS, asked)

    async def vms(self, _: web.Request, asked: Asked) -> web.StreamResponse:
        """A list."""
        return await self._listed(VMS, asked)

    async def resources(self, _: web.Request, asked: Asked) -> web.StreamResponse:
        """A list."""
        return await self._listed(RESOURCES, asked)

    async def operations(self, _: web.Request, asked: Asked) -> web.StreamResponse:
        """A list."""
        return await self._listed(OPERATIONS, asked)

    async def deployment(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        """One, with its VMs."""
        most = self._settings.query_items_max
        async with self._reader.snapshot() as snapshot:
            found = asked["source"], asked["deployment"], asked["incarnation"]
            row = await snapshot.row(self._sql["deployment"], *found)
            if row is None:
                raise NothingFoundError("no deployment of this id is known")
            vms = await snapshot.rows(self._sql["vms_of_a_deployment"], row["id"], most + 1)
        shown = [item(Vm(*vm)) for vm in vms[:most]]
        return single(request, {**item(Deployment(*row)), "vms": shown, "vms_truncated": len(vms) > most})

    async def vm(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        """One, with the incarnations and instances that bore its name."""
        async with self._reader.snapshot() as snapshot:
            row = await snapshot.row(self._sql["vm"], asked["source"], asked["vm_name"], asked["deployment"])
            if row is None:
                raise NothingFoundError("no VM of this name is known")
            named = asked["source"], asked["vm_name"], row["deployment"]
            bearers = await snapshot.rows(self._sql["incarnations_of_a_vm"], *named)
            instances = await snapshot.rows(self._sql["instances_of_vms"], [one["id"] for one in bearers])
        incarnations = shown_incarnations(bearers, instances)
        its_own = next((one["incarnation"] for one in incarnations if one["id"] == row["id"]), None)
        return single(request, {**item(Vm(*row)), "incarnation": its_own, "incarnations": incarnations})

    async def operation(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        """One, perhaps when it has ended."""
        operation_id = entity_id("operation", asked["source"], asked["transaction_id"])
        operation = await self._waiters.wait(operation_id, asked["wait"], lambda: request.transport is None)
        if operation is None:
            raise NothingFoundError("nothing was heard of this transaction")
        progress = {
            "expected": operation.vms_seen,
            "deployed": operation.vms_deployed,
            "alive": operation.vms_alive,
            "failed": operation.vms_failed,
        }
        return single(request, {**item(operation), "progress": progress})

    # What happened.

    async def callbacks(self, _: web.Request, asked: Asked) -> web.StreamResponse:
        """A list."""
        rows, behind = await self._pages.page(CALLBACKS, asked)
        return as_json({"items": [shown_callback(row) for row in rows], "next": str(behind) if behind else None})

    async def transitions(self, _: web.Request, asked: Asked) -> web.StreamResponse:
        """A list."""
        rows, behind = await self._pages.page(TRANSITIONS, asked)
        return as_json({"items": [shown_transition(row) for row in rows], "next": str(behind) if behind else None})

    async def callback(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        """One, with its headers."""
        row = await self._kept("callback", asked)
        return single(request, {**shown_callback(row), "headers": row["headers"]})

    async def callback_raw(self, _: web.Request, asked: Asked) -> web.StreamResponse:
        """Its bytes."""
        row = await self._kept("raw", asked)
        return raw(asked["receipt"], row["body"])

    # The rest.

    async def explain(self, _: web.Request, asked: Asked) -> web.StreamResponse:
        """Why a VM is in its state."""
        return as_json(await self._explainer.explain(asked["source"], asked["vm_name"], asked["deployment"]))

    async def stats(self, _: web.Request, __: Asked) -> web.StreamResponse:
        """Counts."""
        return as_json(await self._stats.count())

    async def feed(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        """Ledger entries as they happen."""
        return await self._feed.serve(request, asked)

    async def session(self, request: web.Request, _: Asked) -> web.StreamResponse:
        """What this client may read."""
        return self._sessions.tell(request)

    async def log_in(self, request: web.Request, _: Asked) -> web.StreamResponse:
        """Begin a session."""
        return await self._sessions.begin(request)

    async def log_out(self, request: web.Request, _: Asked) -> web.StreamResponse:
        """End it."""
        return self._sessions.end(request)

    async def _listed(self, listing: Listing, asked: Asked) -> web.Response:
        return as_json(await entity_lists.page(self._reader, listing, asked))

    async def _kept(self, name: str, asked: Asked) -> asyncpg.Record:
        receipt = asked["receipt"]
        row = await self._reader.row(self._sql[name], receipt, received_at(receipt))
        if row is None:
            raise NothingFoundError("no callback has this receipt, or it is past its retention")
        return row
