"""What is done to the site, and undone, each thing by its name. Which and when is the drill's to say."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import aiohttp

from chaos.availability.patroni import PostgresNode
from chaos.availability.site import FEED, Site
from chaos.cluster import Node
from chaos.process import Receiver
from tests.support.waiting import until

SHORT_S = 6.0
LONG_S = 25.0
"""Longer than Patroni's `ttl`."""
FAILOVER_TIMEOUT_S = 90.0
RELOADS = 3

Do = Callable[[Site, int], Awaitable[str]]
"""Does and undoes it; `draw` is for whatever there is to choose. Says what was struck."""


class Strike(NamedTuple):
    """One of them."""

    on: str
    """Which program: two at a time are never on the same."""
    do: Do


# PostgreSQL


async def _leader(site: Site) -> PostgresNode:
    node = await site.postgres.leader(site.session)
    if node is None:
        raise ConnectionRefusedError("no PostgreSQL leads")
    return node


async def _until_another_leads(site: Site, former: PostgresNode) -> None:
    async def leads() -> bool:
        return await site.postgres.leader(site.session) not in {None, former}

    await until(leads, FAILOVER_TIMEOUT_S)


async def kill_postgres(site: Site, draw: int) -> str:
    """The leader's postmaster alone, as `kill -9`; Patroni sees it, and decides."""
    node = await _leader(site)
    first = node.postmaster()
    if first is None:
        raise ConnectionRefusedError("it has no process")
    first.kill()
    return node.folder.name


async def lose_postgres(site: Site, draw: int) -> str:
    """The leader's machine: Patroni and PostgreSQL at once. It comes back when another leads."""
    node = await _leader(site)
    await node.kill()
    await _until_another_leads(site, node)
    await node.start()
    return node.folder.name


async def freeze_postgres(site: Site, draw: int) -> str:
    """The leader's machine says nothing, closes nothing, and goes on when another leads, as if it still did."""
    node = await _leader(site)
    node.signal_all(signal.SIGSTOP)
    try:
        await _until_another_leads(site, node)
        await asyncio.sleep(SHORT_S)
    finally:
        node.signal_all(signal.SIGCONT)
    return node.folder.name


async def switch_postgres(site: Site, draw: int) -> str:
    """On purpose, as before maintenance."""
    node = await _leader(site)
    await site.postgres.switch_over(site.session)
    return f"from {node.folder.name}"


async def lose_standby(site: Site, draw: int) -> str:
    """Both machines that follow, one of which every commit waits for; then they come back."""
    leader = await _leader(site)
    lost = [node for node in site.postgres.nodes if node is not leader]
    for node in lost:
        await node.kill()
    await asyncio.sleep(SHORT_S)
    for node in lost:
        await node.start()
    return ", ".join(node.folder.name for node in lost)


# etcd


def _lose_etcd(number: int, for_s: float) -> Do:
    async def lose(site: Site, draw: int) -> str:
        first = draw % len(site.etcd)
        lost = [site.etcd[(first + step) % len(site.etcd)] for step in range(number)]
        for member in lost:
            await member.kill()
        await asyncio.sleep(for_s)
        await asyncio.gather(*(member.start() for member in lost))
        return ", ".join(member.folder.name for member in lost)

    return lose


# NATS


async def _stream_leader(site: Site) -> Node:
    node = await site.nats.leader(FEED)
    if node is None:
        raise ConnectionRefusedError("nobody leads the stream")
    return node


async def _killed(site: Site, node: Node) -> str:
    site.nats.signal(node, signal.SIGKILL)
    await node.ended()
    await asyncio.sleep(SHORT_S)
    await node.start()
    return node.folder.name


async def kill_nats_follower(site: Site, draw: int) -> str:
    """A node that does not lead the stream."""
    leader = await _stream_leader(site)
    followers = [node for node in site.nats.nodes if node is not leader]
    return await _killed(site, followers[draw % len(followers)])


async def kill_nats_leader(site: Site, draw: int) -> str:
    """The node that leads the stream."""
    return await _killed(site, await _stream_leader(site))


async def freeze_nats_leader(site: Site, draw: int) -> str:
    """It says nothing, and closes nothing."""
    node = await _stream_leader(site)
    site.nats.signal(node, signal.SIGSTOP)
    try:
        await asyncio.sleep(LONG_S)
    finally:
        site.nats.signal(node, signal.SIGCONT)
    return node.folder.name


# HAProxy


async def reload_haproxy(site: Site, draw: int) -> str:
    """Again and again, as after a change of its configuration."""
    for _ in range(RELOADS):
        site.proxy.reload()
        await asyncio.sleep(1)
    return f"{RELOADS} times"


# The receivers


def _victim(site: Site, draw: int) -> Receiver:
    return site.receivers[draw % len(site.receivers)]


async def kill_receiver(site: Site, draw: int) -> str:
    """Supervisor and workers, as `kill -9`; it comes back."""
    receiver = _victim(site, draw)
    await receiver.kill()
    await asyncio.sleep(SHORT_S)
    await receiver.start()
    return receiver.name


async def restart_receiver(site: Site, draw: int) -> str:
    """As `systemctl restart` does, without telling HAProxy."""
    receiver = _victim(site, draw)
    await receiver.stop()
    await receiver.start()
    return receiver.name


async def upgrade_receivers(site: Site, draw: int) -> str:
    """One after the other by the recipe (docs/upgrade.md#upgrade); with the same release."""
    for number, receiver in enumerate(site.receivers, 1):
        await site.proxy.say(f"set server receivers/r{number} state drain")
        await site.proxy.until("scur", f"r{number}", "0")
        await receiver.stop()
        await receiver.start()
        await until(lambda: _is_ready(site, receiver), FAILOVER_TIMEOUT_S)  # noqa: B023 - awaited at once
        await site.proxy.say(f"set server receivers/r{number} state ready")
        await site.proxy.until("status", f"r{number}", "UP")
    return "one after the other"


async def _is_ready(site: Site, receiver: Receiver) -> bool:
    """As the recipe asks with curl."""
    try:
        timeout = aiohttp.ClientTimeout(total=1)
        async with site.session.get(f"{receiver.url}/readyz", timeout=timeout) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False


async def replace_workers(site: Site, draw: int) -> str:
    """Of one receiver, as SIGHUP does."""
    receiver = _victim(site, draw)
    receiver.signal(signal.SIGHUP)
    await asyncio.sleep(SHORT_S)
    return receiver.name


STRIKES: dict[str, Strike] = {
    "kill-postgres": Strike("postgres", kill_postgres),
    "lose-postgres": Strike("postgres", lose_postgres),
    "freeze-postgres": Strike("postgres", freeze_postgres),
    "switch-postgres": Strike("postgres", switch_postgres),
    "lose-standbys": Strike("postgres", lose_standby),
    "lose-etcd-minority": Strike("etcd", _lose_etcd(1, SHORT_S)),
    "lose-etcd-majority": Strike("etcd", _lose_etcd(2, LONG_S)),
    "kill-nats-follower": Strike("nats", kill_nats_follower),
    "kill-nats-leader": Strike("nats", kill_nats_leader),
    "freeze-nats-leader": Strike("nats", freeze_nats_leader),
    "reload-haproxy": Strike("haproxy", reload_haproxy),
    "kill-receiver": Strike("receiver", kill_receiver),
    "restart-receiver": Strike("receiver", restart_receiver),
    "upgrade-receivers": Strike("receiver", upgrade_receivers),
    "replace-workers": Strike("receiver", replace_workers),
}
