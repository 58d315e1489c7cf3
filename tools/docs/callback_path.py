"""The way of a callback in docs/architecture.md: the files that run between the socket and the answer, in order.

One callback about a deployment is posted to a real receiver on a real PostgreSQL, and the calls are traced. A file that
is called from another room is a station of the way, and numbered; what it calls of its own room stands below it. For
each stands the first public function that is called, with the first sentence of its docstring.
`python -m tools.docs.callback_path` writes the page; it starts a PostgreSQL of its own.
"""

from __future__ import annotations

import ast
import asyncio
import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import aiohttp
import asyncpg

from receiver.config.settings import Settings
from receiver.embedded.servers import Embedded
from receiver.http.ingress import Ingress
from receiver.http.server import make_app, start_site
from receiver.postgres.migrations import migrate
from tests.support.batches import accepting
from tests.support.samples import SAMPLES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
_LIST = re.compile(r"(<!-- traced -->\n).*?(<!-- /traced -->)", re.DOTALL)

Defined = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
Call = tuple[str, str]
"""File and qualified name of a function."""
NOT_ON_THE_WAY = ("model", "observability")
"""Rooms of values, and of what is counted on the way: calling them hands nothing on."""
CODECS = ("receiver/postgres/timestamps.py",)
"""What a driver calls for each value: it is called by a library, but hands nothing on either."""


@contextmanager
def traced() -> Iterator[list[tuple[Call, str]]]:
    """The functions of the receiver that this thread calls meanwhile, each once, in order of their first call, with the
    room that called it (empty: a library did)."""
    called: dict[Call, str] = {}
    found: list[tuple[Call, str]] = []
    inside = str(ROOT / "receiver")

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(inside):
            called.setdefault((str(Path(code.co_filename).relative_to(ROOT)), code.co_qualname), _caller(frame))

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        found.extend(called.items())


def _caller(frame: FrameType) -> str:
    """The room of the nearest caller that is ours."""
    outer = frame.f_back
    while outer is not None and not outer.f_code.co_filename.startswith(str(ROOT / "receiver")):
        outer = outer.f_back
    return room(str(Path(outer.f_code.co_filename).relative_to(ROOT))) if outer else ""


def room(file: str) -> str:
    """`receiver/http/body.py` lies in `http`."""
    return file.split("/")[1]


async def calls_of_a_callback(postgres_dsn: str, folder: Path) -> list[tuple[Call, str]]:
    """What runs for one deployment callback, when the one before it has made connections and partitions."""
    settings = Settings(postgres_dsn=postgres_dsn, port=0, data_dir=folder)
    first, second = SAMPLES["rec-deploy-01-vm-deployed"], SAMPLES["rec-deploy-02-vm-alive"]
    async with accepting(postgres_dsn, folder) as place, aiohttp.ClientSession() as session:
        runner = await start_site(
            make_app([Ingress(place.batcher, settings, place.metrics, place.readers)], settings),
            settings,
            place.metrics,
        )
        host, port = runner.addresses[0]
        url = f"http://{host}:{port}/esc/default/callback"
        try:
            async with session.post(url, data=first.body, headers=first.headers) as answer:
                answer.raise_for_status()
            async with place.wake_ups:
                pass  # it is no part of the way: nobody waits for it with an answer
            with traced() as found:
                async with session.post(url, data=second.body, headers=second.headers) as answer:
                    answer.raise_for_status()
        finally:
            await runner.cleanup()
    return found


def files(calls: Iterable[tuple[Call, str]]) -> list[str]:
    """The files that run, in order."""
    return list(dict.fromkeys(file for (file, _), _ in calls))


def stations(calls: Sequence[tuple[Call, str]]) -> list[str]:
    """The files at which a room is entered, in order: what a callback is handed to."""
    entered = (
        file
        for (file, _), caller in calls
        if caller != room(file) and room(file) not in NOT_ON_THE_WAY and file not in CODECS
    )
    return list(dict.fromkeys(entered))


def listed(calls: Sequence[tuple[Call, str]]) -> str:
    """The numbered stations, below each the files of its room that run from there on."""
    below: dict[str, list[str]] = {station: [] for station in stations(calls)}
    station_of: dict[str, str] = {}
    beside: list[str] = []
    for file in files(calls):
        if file in below:
            station_of[room(file)] = file
        else:
            below.get(station_of.get(room(file), ""), beside).append(file)
    lines = []
    for number, (station, inside) in enumerate(below.items(), 1):
        lines.append(f"{number}. {_line(station, calls)}")
        lines += [f"   - {_line(file, calls)}" for file in inside]
    return "\n".join([*lines, "", "Beside the way:", "", *(f"- {_line(file, calls)}" for file in beside)])


def _line(file: str, calls: Iterable[tuple[Call, str]]) -> str:
    names = [name for (path, name), _ in calls if path == file and "<" not in name]
    public = [name for name in names if not any(part.startswith("_") for part in name.split("."))]
    name = next(iter(public or names), "")
    return f"`{file}{f': {name}' if name else ''}`: {_described(ROOT / file, name)}"


def page(calls: Sequence[tuple[Call, str]]) -> str:
    """The page as it should be."""
    return _LIST.sub(lambda found: f"{found[1]}{listed(calls)}\n{found[2]}", PAGE.read_text("utf-8"))


def _described(path: Path, name: str) -> str:
    """The first sentence of the function's docstring, or of its file's."""
    tree = ast.parse(path.read_text("utf-8"))
    node: ast.Module | Defined | None = tree
    for part in name.split("."):
        inside = node.body if node else []
        node = next((one for one in inside if isinstance(one, Defined) and one.name == part), None)
    text = (ast.get_docstring(node) if node else None) or ast.get_docstring(tree) or ""
    return re.split(r"(?<=[.;]) ", " ".join(text.replace("`", "").split()))[0].rstrip(".;")


async def _write() -> None:
    async with Embedded() as servers:
        connection = await asyncpg.connect(servers.postgres_dsn)
        await migrate(connection)
        await connection.close()
        with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            PAGE.write_text(page(await calls_of_a_callback(servers.postgres_dsn, Path(folder))), "utf-8")


if __name__ == "__main__":
    asyncio.run(_write())
