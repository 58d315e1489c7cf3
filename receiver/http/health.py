"""`/healthz`: the event loop turns. `/readyz`: a callback could be kept now. `/metrics`: all metrics.

`app` hands it the checks, so it must not know what is behind them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any
from typing import Protocol as Shape

import orjson
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from receiver.errors import ReceiverError
from receiver.observability.metrics import Metrics

Ping = Callable[[], Awaitable[None]]
"""Returns when the dependency answers; raises a ReceiverError that says why it cannot be used."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something the receiver needs."""

    name: str
    ping: Ping
    needed: bool
    """Without it no callback can be kept; without the others the receiver is degraded."""


class Together(Shape):
    """All processes that serve on this port."""

    async def registry(self) -> CollectorRegistry:
        """The figures of all. Raises ReceiverError when not all are known."""

    async def readiness(self) -> dict[str, Any]:
        """How all are, in one document."""


class Health:
    """The paths for probes and Prometheus; of all processes, where there are several."""

    def __init__(
        self,
        dependencies: Iterable[Dependency],
        metrics: Metrics,
        timeout_s: float,
        warnings: Callable[[], Iterable[str]] = tuple,
        together: Together | None = None,
        facts: Callable[[], dict[str, str]] = dict,
    ) -> None:
        """`warnings` tells what is amiss without being a fault, `facts` what else is asked for by name."""
        self._dependencies = tuple(dependencies)
        self._registry = metrics.registry
        self._together = together
        self._timeout_s = timeout_s
        self._warnings = warnings
        self._facts = facts

    def routes(self) -> list[web.RouteDef]:
        """A scrape is one synchronous step of the event loop, so that the counts add up."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.metrics),
        ]

    async def healthz(self, _: web.Request) -> web.Response:
        """Answers whenever the loop turns."""
        return _json(200, {"alive": True})

    async def readyz(self, _: web.Request) -> web.Response:
        """200 when a callback could be kept, else 503; names each dependency and what is wrong with it."""
        document = await (self._together.readiness() if self._together else self.readiness())
        return _json(200 if document["ready"] else 503, document)

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """All figures; 503 rather than some of them, because counters must never go backwards."""
        try:
            registry = await self._together.registry() if self._together else self._registry
        except (ReceiverError, TimeoutError):
            return web.Response(status=503, text="the supervisor of the workers does not answer\n")
        return await make_aiohttp_handler(registry, disable_compression=True)(request)

    async def readiness(self) -> dict[str, Any]:
        """How this process is."""
        faults = await asyncio.gather(*(self._fault(dependency) for dependency in self._dependencies))
        checked = list(zip(self._dependencies, faults, strict=True))
        return {
            "ready": not any(fault and dependency.needed for dependency, fault in checked),
            "degraded": any(faults),
            "dependencies": {
                dependency.name: {"ok": False, "why": fault} if fault else {"ok": True} for dependency, fault in checked
            },
            "warnings": list(self._warnings()),
            **self._facts(),
        }

    async def _fault(self, dependency: Dependency) -> str | None:
        asked = asyncio.ensure_future(dependency.ping())
        asked.add_done_callback(_forget)
        try:
            await asyncio.wait({asked}, timeout=self._timeout_s)
            if asked.done():  # nor is it waited for while it gives up
                return asked.result()
        except ReceiverError as error:
            return str(error)
        except TimeoutError:  # of its own
            pass
        except Exception as error:  # noqa: BLE001 - whatever went wrong, it cannot be used
            return type(error).__name__
        finally:
            asked.cancel()
        return f"no answer within readyz_timeout_s ({self._timeout_s:g} s)"


def _forget(asked: asyncio.Future[None]) -> None:
    """What it ends with, when nobody waits for it any more."""
    if not asked.cancelled():
        asked.exception()


def _json(status: int, document: dict[str, Any]) -> web.Response:
    headers = {hdrs.CONTENT_TYPE: "application/json", hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(status=status, body=orjson.dumps(document), headers=headers)
