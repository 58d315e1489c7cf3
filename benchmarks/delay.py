"""From POST to consumer: posts at a fixed rate, and a JetStream consumer that notes when each message arrives.

Both in one process, so that one clock tells; the time counts from when a POST was due, so that a sender held up by a
slow server does not flatter it. Run as `python -m benchmarks.delay JSON`, with the fields of `Question`; prints the
fields of `Delay` as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import deque
from dataclasses import asdict, dataclass
from time import perf_counter

import nats
import orjson
from nats.aio.msg import Msg
from nats.js.api import DeliverPolicy

from benchmarks.connection import Connection, connect, percentile
from benchmarks.traffic import Traffic, vm_name
from receiver.events.subjects import SUBJECTS

CONNECTIONS = 64
PATIENCE_S = 10


@dataclass(frozen=True, slots=True)
class Question:
    """What to send, and where to listen."""

    port: int
    nats_url: str
    stream: str
    deployments: int
    first: int
    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Delay:
    """How long the messages took."""

    messages: int
    p50_s: float
    p99_s: float
    slowest_s: float


class Run:
    """Sends what is due over whichever connection is free, and listens."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._request = Traffic(question.deployments).request
        self._count = round(question.rate * question.seconds)
        self._free: deque[Connection] = deque()
        self._waiting: deque[bytes] = deque()
        self._due_s: dict[str, float] = {}
        self._took_s: list[float] = []
        self._over = asyncio.Event()

    async def measure(self) -> Delay:
        """All of it."""
        question = self._question
        client = await nats.connect(question.nats_url)
        await client.jetstream().subscribe(
            f"{SUBJECTS}.>",
            stream=question.stream,
            ordered_consumer=True,
            deliver_policy=DeliverPolicy.NEW,
            cb=self._heard,
        )
        self._free += await connect(question.port, CONNECTIONS, self._answered)
        await self._send()
        async with asyncio.timeout(PATIENCE_S):
            await self._over.wait()
        await client.close()
        ascending = sorted(self._took_s)
        return Delay(len(ascending), percentile(ascending, 0.5), percentile(ascending, 0.99), ascending[-1])

    async def _send(self) -> None:
        question, began_s = self._question, perf_counter()
        for number in range(self._count):
            due_s = began_s + number / question.rate
            if (early_s := due_s - perf_counter()) > 0:
                await asyncio.sleep(early_s)
            self._due_s[vm_name(question.first + number).decode()] = due_s
            self._post(self._request(question.first + number))

    def _post(self, request: bytes) -> None:
        if self._free:
            self._free.popleft().post(request)
        else:
            self._waiting.append(request)

    def _answered(self, connection: Connection, _fine: bool) -> None:
        self._free.append(connection)
        if self._waiting:
            self._post(self._waiting.popleft())

    async def _heard(self, message: Msg) -> None:
        due_s = self._due_s.pop(message.subject.rpartition(".")[2], None)
        if due_s is not None:
            self._took_s.append(perf_counter() - due_s)
        if len(self._took_s) == self._count:
            self._over.set()


def main() -> None:
    """One measurement."""
    question = Question(**orjson.loads(sys.argv[1]))
    gc.disable()  # a pause of ours is none of the receiver's
    sys.stdout.buffer.write(orjson.dumps(asdict(asyncio.run(Run(question).measure()))))


if __name__ == "__main__":
    main()
