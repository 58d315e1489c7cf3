"""Whether NATS has a message on its disk before it acknowledges it: asked of the monitoring addresses of its servers.

JetStream by default writes through every two minutes, so that a power cut loses what was acknowledged
(docs/reliability.md#power). Clients cannot see that; `/varz` tells it. Must not know who wants to know.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from receiver.config.settings import Settings
from receiver.observability.labels import Fsynced


async def feed_fsynced(settings: Settings) -> Fsynced:
    """NO when one of the servers does not; YES when all do; else UNKNOWN, also when none is named."""
    urls = [url.strip().rstrip("/") for url in settings.nats_monitor_urls.split(",") if url.strip()]
    if not urls:
        return Fsynced.UNKNOWN
    timeout = aiohttp.ClientTimeout(total=settings.nats_monitor_timeout_s)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        found = set(await asyncio.gather(*(_of_server(session, url) for url in urls)))
    if Fsynced.NO in found:
        return Fsynced.NO
    return Fsynced.YES if found == {Fsynced.YES} else Fsynced.UNKNOWN


async def _of_server(session: aiohttp.ClientSession, url: str) -> Fsynced:
    try:
        async with session.get(f"{url}/varz", allow_redirects=False, raise_for_status=True) as answer:
            found: Any = await answer.json(content_type=None)
        jetstream = found["jetstream"]["config"]
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError):
        return Fsynced.UNKNOWN
    if not isinstance(jetstream, dict) or "sync_interval" not in jetstream:
        return Fsynced.UNKNOWN
    return Fsynced.YES if jetstream.get("sync_always") is True else Fsynced.NO
