"""The commands that read a running receiver: what they show, to people and to programs, and how they end."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from click.testing import CliRunner

from receiver.cli.main import main
from tests.support.batches import keeping, letter, of_deployment
from tests.support.browser import named, receiving
from tests.support.program import CHECKOUT
from tests.support.query_api import ALIVE, DEPLOYED, READ, RunningApi, deploy, running_api, store
from tests.support.samples import SAMPLES

PATIENCE_S = 60
DEPLOY_LATER = [of_deployment(one, "dep-later") for one in (DEPLOYED, ALIVE, SAMPLES["rec-deploy-03-service-alive"])]
TRANSACTION = letter(of_deployment(DEPLOYED, "dep-a")).envelope.transaction_id or ""


async def ask(url: str, *arguments: str, **environment: str) -> tuple[int, list[str], list[str]]:
    """Run a command to its end: status, lines of output, lines of errors."""
    environ = {"ESC_RECEIVER_URL": url, **environment}
    async with asyncio.timeout(PATIENCE_S):
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=environ)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()


@pytest.fixture
async def api(postgres_dsn: str) -> AsyncIterator[RunningApi]:
    """A receiver's API, on two deployments that are up and one that is coming up."""
    await store(postgres_dsn, [*deploy("dep-a"), *deploy("dep-b"), letter(of_deployment(DEPLOYED, "dep-c"))])
    async with running_api(postgres_dsn) as api:
        yield api


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["deployments"], 3),
        (["deployments", "--state", "active"], 2),
        (["deployments", "--deployment", "dep-c", "--all"], 1),
        (["deployments", "--until", "2000-01-01T00:00:00Z"], 0),
        (["vms", "--state", "INERT"], 1),
        (["vms", "--deployment", "dep-a"], 1),
        (["vms", "--limit", "2"], 2),
        (["operations", "--state", "SUCCEEDED"], 2),
        (["operations", "--kind", "deploy", "--deployment", "dep-c"], 1),
    ],
)
async def test_lists_with_filters(api: RunningApi, arguments: list[str], expected: int) -> None:
    """As a table below a line of headings, and with --json an item a line, as the API has it."""
    status, lines, told = await ask(api.url, *arguments)
    assert (status, len(lines)) == (0, expected + 1 if expected else 0)
    assert bool(told) == (expected == 0 or "--limit" in arguments)
    status, lines, _ = await ask(api.url, *arguments, "--json")
    items = [orjson.loads(line) for line in lines]
    assert (status, len(items)) == (0, expected)
    everything = {item["id"]: item for item in await api.all_items(f"/{arguments[0]}")}
    assert all(item == everything[item["id"]] for item in items)


async def test_a_long_list_is_read_page_by_page(api: RunningApi, postgres_dsn: str) -> None:
    """As far as --limit says; what is left is told."""
    await store(postgres_dsn, [letter(of_deployment(DEPLOYED, f"dep-{number}")) for number in range(1_100)])
    status, lines, told = await ask(api.url, "vms", "--json", "--limit", "1050")
    assert (status, len({orjson.loads(line)["id"] for line in lines})) == (0, 1_050)
    assert told == ["there are more than 1050: see --limit"]


async def test_explain_tells_each_step_with_its_time(api: RunningApi) -> None:
    """The callback, the rule, the state before, its operation, what is next and whether it is published."""
    (vm,) = (await api.get("/vms", deployment="dep-a")).items
    status, lines, _ = await ask(api.url, "explain", vm["vm_name"], "--deployment", "dep-a")
    assert (status, lines[0]) == (0, f"{vm['vm_name']} of dep-a is ALIVE")
    text = "\n".join(lines)
    for step in ("callback", "rule", "before", "operation", "next", "published"):
        assert f" {step}" in text
    assert "vm-alive: its monitor has reached it" in text
    assert "HISTORY" in text
    (coming,) = (await api.get("/vms", deployment="dep-c")).items
    _, lines, _ = await ask(api.url, "explain", coming["vm_name"], "--deployment", "dep-c")
    assert "VM_ALIVE → ALIVE; SERVICE_ALIVE ends its operation" in "\n".join(lines)
    status, lines, _ = await ask(api.url, "explain", vm["vm_name"], "--deployment", "dep-a", "--json")
    assert orjson.loads(lines[0]) == (await api.get(f"/explain/default/{vm['vm_name']}", deployment="dep-a")).body


async def test_explain_finds_the_source_or_asks_for_it(api: RunningApi, postgres_dsn: str) -> None:
    """Where one ESC instance has a VM of the name, nobody need name it."""
    (vm,) = (await api.get("/vms", deployment="dep-a")).items
    await store(postgres_dsn, [letter(of_deployment(DEPLOYED, "dep-a"), source="lab2")])
    status, _, told = await ask(api.url, "explain", vm["vm_name"])
    assert (status, "--source default, lab2" in told[0], len(told)) == (2, True, 1)
    assert (await ask(api.url, "explain", vm["vm_name"], "--source", "lab2"))[1][0].endswith("is INERT")
    status, _, told = await ask(api.url, "explain", "nobody")
    assert (status, told) == (2, ["esc-receiver: no VM is known by this name, this beginning of a name, or this uuid"])


async def test_what_comes_from_outside_cannot_steer_the_terminal(api: RunningApi, postgres_dsn: str) -> None:
    """Names are text, whatever is in them; there are no colours where there is no terminal."""
    hostile = "[red]{x}\x7f\u202e/"
    await store(postgres_dsn, [letter(one) for one in named([of_deployment(DEPLOYED, "dep-h")], hostile)])
    for arguments in (["vms", "--deployment", "dep-h"], ["explain", hostile]):
        status, lines, _ = await ask(api.url, *arguments)
        assert status == 0
        assert r"[red]{x}\u007f\u202e/" in "\n".join(lines)
        assert all(line.isprintable() for line in lines)
    _, (line,), _ = await ask(api.url, "vms", "--deployment", "dep-h", "--json")
    assert line.isprintable()
    assert orjson.loads(line)["vm_name"] == hostile


async def test_colours_on_a_terminal(api: RunningApi) -> None:
    """States are coloured there, and told as words as well."""
    leader, follower = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "receiver", "deployments", "--url", api.url, stdout=follower, cwd=CHECKOUT,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": ""},
    )  # fmt: skip
    os.close(follower)
    assert await process.wait() == 0
    shown = b""
    with suppress(OSError):  # so Linux says that the other side has closed
        while chunk := os.read(leader, 65_536):
            shown += chunk
    os.close(leader)
    assert b"\x1b[32mACTIVE" in shown


async def test_wait_ends_with_the_operation(api: RunningApi, postgres_dsn: str) -> None:
    """0 when it succeeded, also when it began before the first callback; and it tells how it went."""
    transaction = letter(of_deployment(DEPLOYED, "dep-later")).envelope.transaction_id or ""
    waiting = asyncio.create_task(ask(api.url, "operations", "--source", "default", "--wait", transaction))
    async with asyncio.timeout(PATIENCE_S):
        while not api.metrics.registry.get_sample_value("esc_receiver_waits"):  # noqa: ASYNC110 - a gauge
            await asyncio.sleep(0.01)
    await store(postgres_dsn, deploy("dep-later"))
    status, (line,), told = await waiting
    assert (status, told) == (0, [])
    assert line.startswith(f"SUCCEEDED deploy {transaction}: 1 of 1 VMs done, ")


@pytest.mark.parametrize(("state", "status"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELLED", 1)])
async def test_the_exit_status_tells_how_it_ended(api: RunningApi, connection: Any, state: str, status: int) -> None:
    """For scripts; --json gives the whole operation."""
    await connection.execute("UPDATE operations SET state = $1, ended_at = now()", state)
    ended, (line,), _ = await ask(api.url, "operations", "--wait", TRANSACTION, "--json", "--timeout", "0")
    assert (ended, orjson.loads(line)["state"]) == (status, state)


async def test_a_wait_without_a_source_finds_the_esc(api: RunningApi, postgres_dsn: str) -> None:
    """Also when it begins before that ESC has said anything; of two that use one id it asks which."""
    transaction = letter(of_deployment(DEPLOYED, "dep-later")).envelope.transaction_id or ""
    waiting = asyncio.create_task(ask(api.url, "operations", "--wait", transaction))
    async with asyncio.timeout(PATIENCE_S):
        while not api.metrics.registry.get_sample_value(  # noqa: ASYNC110 - a counter
            "esc_receiver_queries_total", {"endpoint": "operations", "status": "200"}
        ):
            await asyncio.sleep(0.01)
    await store(postgres_dsn, [letter(one, source="lab7") for one in DEPLOY_LATER])
    status, (line,), told = await waiting
    assert (status, told) == (0, [])
    assert line.startswith(f"SUCCEEDED deploy {transaction}: 1 of 1 VMs done, ")
    await store(postgres_dsn, [letter(DEPLOY_LATER[0], source="lab8")])
    status, _, (told_line,) = await ask(api.url, "operations", "--wait", transaction)
    assert status == 2
    assert "several sources (lab7, lab8): choose one with --source" in told_line


async def test_an_interrupted_wait_is_no_failure(api: RunningApi) -> None:
    """Ctrl-C ends it with 130, as any program; a script does not take that for a failed operation."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "receiver", "operations", "--url", api.url, "--wait", "nobody",
        cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE_S):
        while not api.metrics.registry.get_sample_value(  # noqa: ASYNC110 - a counter
            "esc_receiver_queries_total", {"endpoint": "operations", "status": "200"}
        ):
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        stdout, stderr = await process.communicate()
    assert (process.returncode, stdout, stderr) == (130, b"", b"")


async def test_what_is_still_open_when_the_time_is_over(api: RunningApi) -> None:
    """Exit status 3; 4 when nothing was heard of it."""
    transaction = letter(of_deployment(DEPLOYED, "dep-c")).envelope.transaction_id or ""
    status, (line,), _ = await ask(api.url, "operations", "--wait", transaction, "--timeout", "1")
    assert (status, line.split()[0]) == (3, "OPEN")
    status, lines, told = await ask(api.url, "operations", "--wait", "nobody", "--timeout", "0")
    assert (status, lines, told) == (4, [], ["nothing was heard of nobody by any source"])


async def test_a_wait_outlives_the_receiver(postgres_dsn: str) -> None:
    """What ends meanwhile is told by the next one at the same place."""
    await store(postgres_dsn, deploy("dep-a")[:1])
    port = unused_port()
    async with running_api(postgres_dsn, port=port) as first:
        waiting = asyncio.create_task(ask(first.url, "operations", "--wait", TRANSACTION))
        async with asyncio.timeout(PATIENCE_S):
            while not first.metrics.registry.get_sample_value("esc_receiver_waits"):  # noqa: ASYNC110 - a gauge
                await asyncio.sleep(0.01)
    async with keeping(postgres_dsn) as keeper:
        await keeper.write(
            [letter(of_deployment(one, "dep-a")) for one in (ALIVE, SAMPLES["rec-deploy-03-service-alive"])]
        )
    async with running_api(postgres_dsn, port=port):
        status, (line,), _ = await waiting
    assert (status, line.split()[0]) == (0, "SUCCEEDED")


async def test_status_of_a_receiver(postgres_dsn: str, nats_url: str, tmp_path: Path) -> None:
    """Readiness, each dependency, states, lags, and counts that add up."""
    await store(postgres_dsn, deploy("dep-a"))
    async with receiving(postgres_dsn, nats_url, tmp_path) as app:
        await app.until_ready()
        status, lines, _ = await ask(app.url, "status")
        assert status == 0
        text = "\n".join(" ".join(line.split()) for line in lines)
        for told in ("readiness ready", "postgres ok", "nats ok", "vms ALIVE 1", "messages wait", "received 0"):
            assert told in text
        status, (line,), _ = await ask(app.url, "status", "--json")
        assert orjson.loads(line)["stats"]["vms"] == {"ALIVE": 1}


async def test_status_without_postgresql(nats_url: str, tmp_path: Path) -> None:
    """It can keep callbacks in the spool: ready, degraded, and what is wrong; statistics are left out."""
    nobody = f"postgresql://nobody@127.0.0.1:{unused_port()}/none"
    async with receiving(nobody, nats_url, tmp_path) as app:
        status, lines, _ = await ask(app.url, "status")
        assert status == 0
        text = "\n".join(" ".join(line.split()) for line in lines)
        assert "readiness ready, but degraded" in text
        assert "postgres PostgreSQL" in text
        assert "vms" not in text


async def test_status_of_a_receiver_that_cannot_keep_anything(nats_url: str, tmp_path: Path) -> None:
    """Neither PostgreSQL nor room in the spool: exit status 1, for scripts."""
    nobody = f"postgresql://nobody@127.0.0.1:{unused_port()}/none"
    async with receiving(nobody, nats_url, tmp_path, spool_bytes_max=1) as app:
        status, lines, _ = await ask(app.url, "status")
        assert (status, "not ready" in lines[1]) == (1, True)


async def test_a_token_is_given_by_option_or_environment(postgres_dsn: str) -> None:
    """Without it, or with a wrong one, one line says so."""
    async with running_api(postgres_dsn, read_tokens=[READ]) as api:
        assert (await ask(api.url, "vms", ESC_RECEIVER_TOKEN="reader"))[0] == 0
        assert (await ask(api.url, "vms", "--token", "reader"))[0] == 0
        for arguments, told in (([], "it wants a token (--token, or"), (["--token", "no"], "does not take this token")):
            status, lines, errors = await ask(api.url, "vms", *arguments)
            assert (status, lines, len(errors)) == (2, [], 1)
            assert told in errors[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["status", "--url", f"http://127.0.0.1:{unused_port()}"], "no receiver answers at"),
        (["vms", "--url", "127.0.0.1:9010"], "is no URL of a receiver"),
        (["vms", "--since", "yesterday"], "since: A parameter is wrong: must be a time of RFC 3339"),
        (["operations", "--state", "GONE"], "Invalid value for '--state'"),
    ],
)
async def test_an_error_is_one_line(api: RunningApi, arguments: list[str], told: str) -> None:
    """It names what is wrong; the exit status is 2."""
    status, lines, errors = await ask(api.url, *arguments)
    assert (status, lines, len(errors)) == (2, [], 1)
    assert told in errors[0]


@pytest.mark.parametrize("command", [["status"], ["vms"], ["explain", "vm-1"], ["tail"]])
async def test_another_program_is_told_from_a_receiver(command: list[str]) -> None:
    """Whatever it answers, there is one clear line."""

    async def page(request: web.Request) -> web.Response:
        if request.path == "/api/v1/feed":
            raise web.HTTPFound("/elsewhere")
        return web.Response(text="<html>hello</html>", content_type="text/html")

    other = web.Application()
    other.router.add_get("/{path:.*}", page)
    async with TestServer(other) as server:
        status, lines, errors = await ask(str(server.make_url("")), *command)
    assert (status, lines, len(errors)) == (2, [], 1)
    assert "is no receiver" in errors[0]
