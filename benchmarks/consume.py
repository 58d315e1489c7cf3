"""How quickly `EscFeed` reads and acknowledges the feed, beside bare nats-py doing the same.

Both fetch 256 messages at a time and acknowledge each; neither reads the payload. Rounds in turn, the middle of each
counts, by the processor time of this program, which others on the machine change little. This file must not know the
receiver.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

import click
import nats
import orjson
from nats.js.api import StreamConfig

from esc_receiver_client import EscFeed
from receiver.embedded.servers import EmbeddedNats

MESSAGES = 20_000
ROUNDS = 5
PAYLOAD = b'{"entity": "vm", "change": "alive", "item": {"text": "' + b"x" * 1_500 + b'"}}'


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(*, as_json: bool) -> None:
    """Measure, and print messages for each second of the processor of either, and their ratio."""
    found = asyncio.run(measure())
    if as_json:
        click.echo(orjson.dumps(found))
        return
    for name, rate in found.items():
        click.echo(
            f"{name}: {rate:.2f}"
            if name == "ratio"
            else f"{name}: {rate:,.0f} messages for each second of the processor"
        )


async def measure() -> dict[str, float]:
    """Messages for each second of the processor of either, and their ratio."""
    rates: dict[str, list[float]] = {"EscFeed": [], "nats-py": []}
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedNats(Path(folder)) as server:
            await _fill(server.url)
            for number in range(ROUNDS):
                rates["EscFeed"].append(await _by_feed(server.url, f"feed{number}"))
                rates["nats-py"].append(await _bare(server.url, f"bare{number}"))
    middle = {name: statistics.median(found) for name, found in rates.items()}
    return middle | {"ratio": middle["EscFeed"] / middle["nats-py"]}


async def _fill(url: str) -> None:
    client = await nats.connect(url)
    jetstream = client.jetstream()
    await jetstream.add_stream(StreamConfig(name="ESC", subjects=["esc.v1.>"]))
    for number in range(MESSAGES):
        await client.publish("esc.v1.vm.alive.lab1.t.d.v", PAYLOAD, headers={"ce-id": str(number), "ce-sequence": "1"})
    await client.flush()
    await client.close()


async def _by_feed(url: str, name: str) -> float:
    seen, began_s = 0, time.process_time()
    async with EscFeed(url) as feed, aclosing(feed.batches(name)) as batches:
        async for batch in batches:
            await batch.ack()
            seen += len(batch)
            if seen >= MESSAGES:
                break
    return seen / (time.process_time() - began_s)


async def _bare(url: str, name: str) -> float:
    seen, began_s = 0, time.process_time()
    client = await nats.connect(url)
    subscription = await client.jetstream().pull_subscribe("esc.v1.>", durable=name, stream="ESC")
    while seen < MESSAGES:
        messages = await subscription.fetch(min(256, MESSAGES - seen))
        for message in messages:
            await message.ack()
        seen += len(messages)
    await client.close()
    return seen / (time.process_time() - began_s)
