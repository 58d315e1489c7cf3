"""One emulator, running: both APIs over HTTP and HTTPS, the engine, the callbacks, the file.

This file only wires; it must not know what an operation does.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any

import structlog
from aiohttp import hdrs, web

from esc_lab.emulator.certificate import Certificate
from esc_lab.emulator.control import BASE, ControlApi
from esc_lab.emulator.delivery_queue import Deliveries
from esc_lab.emulator.endpoint_tables import ROWS
from esc_lab.emulator.engine import Engine
from esc_lab.emulator.esc import Esc
from esc_lab.emulator.handlers.configuration import defaults
from esc_lab.emulator.northbound import BODY_BYTES_MAX, Northbound, authorised, error_response, methods_of
from esc_lab.emulator.options import Options
from esc_lab.emulator.world import World, admin_tenant
from esc_lab.emulator.world_store import Store
from esc_lab.simulator.audit_log import AuditLog
from receiver.errors import SetupError

log = structlog.get_logger()


class Emulator:
    """One ESC and everything around it."""

    def __init__(self, options: Options, store: Store) -> None:
        self.options = options
        seed = f"{options.seed}/{store.count_start()}"
        self.audit_log = AuditLog() if options.keep_audit_log else None
        world, source = _world(store), options.source
        self.esc = Esc(seed, options.habits, options.faults, world, source, options.basic, self._reload_truststore)
        self.deliveries = Deliveries(options, seed, self.audit_log)
        self.engine = Engine(self.esc, self.deliveries, store, options.time_scale)
        self._certificate = Certificate(options.host) if options.https_port is not None else None
        self._addresses = cycle(options.source_addresses or (None,))
        self._address = next(self._addresses)
        # The system's certificates take a while to read, and aiohttp has read them.
        self._truststore = ssl.create_default_context() if options.truststore else True
        self._runner: web.AppRunner | None = None
        self._failing_over: asyncio.Task[None] | None = None
        self.url = ""
        """Where it is served, without the base path; valid after `start`."""
        self.https_url = ""

    async def start(self) -> None:
        """Raises SetupError when an address cannot be served on, or the truststore cannot be read."""
        try:
            self._reload_truststore()
        except OSError as error:
            raise SetupError(f"truststore {self.options.truststore} cannot be read: {error}") from error
        await self.deliveries.begin(local_address=self._address, ssl=self._truststore)
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        self.url = f"http://{await self._listen(self.options.port)}"
        if self._certificate is not None and self.options.https_port is not None:
            self.https_url = f"https://{await self._listen(self.options.https_port, self._certificate.context)}"
        if self.options.failover_every_s:
            self._failing_over = asyncio.create_task(self._keep_failing_over())

    async def stop(self) -> None:
        """Work under way is lost."""
        if self._failing_over is not None:
            self._failing_over.cancel()
            await asyncio.wait([self._failing_over])
        if self._runner is not None:
            await self._runner.cleanup()
        await self.engine.lose_all()
        await self.deliveries.end()

    async def quiet(self) -> None:
        """No more work is done; callbacks on their way are still delivered."""
        await self.engine.lose_all()
        await self.deliveries.settled()

    async def failover(self, *, done: bool = False) -> Mapping[str, Any]:
        """Another ESC of the pair takes over: it knows what was stored. `done`: what was under way had been done."""
        lost = self.engine.in_progress
        await self.engine.lose_all(done=done)
        if self._certificate is not None:
            self._certificate.renew()
        self._address = next(self._addresses)
        await self.deliveries.begin(local_address=self._address, ssl=self._truststore)
        log.warning("failed over", lost=lost, source_address=self._address)
        return {"lost": lost, "source_address": self._address, "new_certificate": self._certificate is not None}

    async def _keep_failing_over(self) -> None:
        while True:
            await asyncio.sleep(self.options.failover_every_s)
            await self.failover()

    def _app(self) -> web.Application:
        northbound = Northbound(self.esc, self.engine)
        about = {"seed": self.options.seed, "time_scale": self.options.time_scale}
        control = ControlApi(
            self.esc,
            self.engine,
            self.deliveries,
            about=about,
            failover=self.failover,
            pem=lambda: self._certificate.pem if self._certificate else "",
        )
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[self._around])
        app.add_routes([*northbound.routes(), *control.routes()])
        return app

    @web.middleware
    async def _around(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Checks credentials, and answers what is no operation."""
        if not authorised(self.esc, request):
            challenge = {"WWW-Authenticate": 'Basic realm="ESC"'}
            return error_response(request, 401, "the credentials are missing or wrong", headers=challenge)
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return error_response(request, 413, f"the body is larger than {BODY_BYTES_MAX} bytes")
        except web.HTTPMethodNotAllowed as error:
            # Of a path that is also matched by a parameter of another one, only its own methods.
            path = f"/{request.path.split('/', 2)[-1].rstrip('/')}"
            own = {method for row in ROWS if row.path == path for method in methods_of(row)}
            allowed = ", ".join(sorted({*(own or error.allowed_methods), hdrs.METH_OPTIONS}))
            if request.method == hdrs.METH_OPTIONS:
                return web.Response(headers={"Allow": allowed})
            message = f"{request.path} takes {allowed}, and no {request.method}"
            return error_response(request, 405, message, headers={"Allow": allowed})
        except web.HTTPNotFound:
            message = f"there is no operation {request.method} {request.path}; {BASE}/openapi.json lists them"
            return error_response(request, 404, message)

    def _reload_truststore(self) -> None:
        """For new connections. What was trusted before stays trusted: a context cannot forget."""
        if isinstance(self._truststore, ssl.SSLContext):
            self._truststore.load_verify_locations(self.options.truststore)

    async def _listen(self, port: int, context: ssl.SSLContext | None = None) -> str:
        assert self._runner is not None  # started
        try:
            site = web.TCPSite(self._runner, self.options.host, port, ssl_context=context)
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise port_error(error, self.options.host, port) from error
        host, number = self._runner.addresses[-1][:2]
        return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


@asynccontextmanager
async def emulating(options: Options) -> AsyncIterator[Emulator]:
    """An emulator, started; stopped at the end."""
    with Store(options.data_dir) as store:
        emulator = Emulator(options, store)
        try:
            await emulator.start()
            yield emulator
        finally:
            await emulator.stop()


def port_error(error: OSError, host: str, port: int, how: str = "") -> SetupError:
    """The error of a port that cannot be served on; `how` to choose another one."""
    taken = error.errno == errno.EADDRINUSE
    why = "is taken by another program" if taken else f"cannot be served on ({error.strerror})"
    return SetupError(f"{host}:{port} {why}; choose another port{how}")


def _world(store: Store) -> World:
    world = World()
    for resource in (admin_tenant(), *defaults()):
        world.put(resource)
    store.load(world)
    return world
