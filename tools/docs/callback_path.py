"""The way of a callback in docs/architecture.md: the files that run between the socket and the answer, in order.

One callback about a deployment is posted to a real receiver on a real PostgreSQL, and the calls are traced. For each
file stands the first public function that is called, with the first sentence of its docstring.
`python -m tools.docs.callback_path` writes the page; it starts a PostgreSQL of its own.
"""

from __future__ import annotations

import ast
import asyncio
import io
import re
import sys
from collections.abc import Iterable, Iterator
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


@contextmanager
def traced() -> Iterator[list[Call]]:
    """The functions of the receiver that this thread calls meanwhile, each once, in order of their first call."""
    called: dict[Call, None] = {}
    found: list[Call] = []
    inside = str(ROOT / "receiver")

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(inside):
            called.setdefault((str(Path(code.co_filename).relative_to(ROOT)), code.co_qualname))

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        found.extend(called)


async def calls_of_a_callback(postgres_dsn: str, folder: Path) -> list[Call]:
    """What runs for one deployment callback, when the one before it has made connections and partitions."""
    settings = Settings(postgres_dsn=postgres_dsn, port=0, data_dir=folder)
    first, second = SAMPLES["rec-deploy-01-vm-deployed"], SAMPLES["rec-deploy-02-vm-alive"]
    async with accepting(postgres_dsn, folder) as place, aiohttp.ClientSession() as session:
        runner = await start_site(
            make_app([Ingress(place.batcher, settings, place.metrics)], settings), settings, place.metrics
        )
        host, port = runner.addresses[0]
        url = f"http://{host}:{port}/esc/default/callback"
        try:
            async with session.post(url, data=first.body, headers=first.headers) as answer:
                answer.raise_for_status()
            with traced() as found:
                async with session.post(url, data=second.body, headers=second.headers) as answer:
                    answer.raise_for_status()
        finally:
            await runner.cleanup()
    return found


def files(calls: Iterable[Call]) -> list[str]:
    """The files that run, in order."""
    return list(dict.fromkeys(file for file, _ in calls))


def listed(calls: list[Call]) -> str:
    """The numbered list."""
    lines = []
    for number, file in enumerate(files(calls), 1):
        names = [name for path, name in calls if path == file and "<" not in name]
        public = [name for name in names if not any(part.startswith("_") for part in name.split("."))]
        name = next(iter(public or names), "")
        lines.append(f"{number}. `{file}{f': {name}' if name else ''}`: {_described(ROOT / file, name)}")
    return "\n".join(lines)


def page(calls: list[Call]) -> str:
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
