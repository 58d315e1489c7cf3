"""A running receiver, asked to ask ESC: over its API and from the command line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from click.testing import CliRunner, Result

from receiver.app import running
from receiver.cli.main import main
from receiver.config.settings import Settings
from tests.support.batches import UNHURRIED
from tests.support.emulator import orchestrating
from tests.support.reconciling import QUICK, arm, deploy, esc_of, hear

HIDDEN = "reconcile-s3cret"


async def called(url: str, *arguments: str) -> tuple[int, str]:
    """Exit status and output of `esc-receiver reconcile`."""
    run = CliRunner().invoke
    done = await asyncio.to_thread(run, main, ["reconcile", "--url", url, *arguments], prog_name="esc-receiver")
    return done.exit_code, done.output


async def listed(url: str) -> Result:
    """What `esc-receiver operations` prints of deploys."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["operations", "--url", url, "--kind", "deploy"])


async def test_a_receiver_is_asked_to_ask(postgres_dsn: str, tmp_path: Path) -> None:
    """First what would change, then it does, then there is nothing left; an ESC that cannot be asked; wrong orders."""
    async with orchestrating(basic=("admin", HIDDEN)) as client:
        client.session.headers["Authorization"] = aiohttp.encode_basic_auth("admin", HIDDEN)
        heard = await deploy(client, "d1", "d2")
        lost = {"SERVICE_ALIVE": b"", "VM_ALIVE": b"d2"}  # all of them; those of d2
        await hear(postgres_dsn, [one for one in heard if one.says not in lost or lost[one.says] not in one.body])
        esc = esc_of(client, username="admin", password=HIDDEN)
        given: dict[str, Any] = {
            "postgres_dsn": postgres_dsn, "port": 0, "data_dir": tmp_path, "nats_url": "nats://127.0.0.1:1",
            "sources": {"lab": {"esc": esc}, "other": {}}, "reconcile_every_s": 0,
        }  # fmt: skip
        async with running(Settings.model_validate(given | UNHURRIED | QUICK)) as app:
            await app.until_ready()
            status, output = await called(app.url, "--dry-run", "--source", "lab", "--deployment", "d1")
            assert (status, output.count("ledger entries would be appended")) == (1, 1)
            assert "INERT → ACTIVE  active  ESC says ACTIVE; its SERVICE_ALIVE never came (reconcile-state)" in output
            status, output = await called(app.url, "--json")
            events = [orjson.loads(line) for line in output.splitlines()]
            assert (status, events[-1]) == (1, {"event": "done", "status": 1})
            assert [event["name"] for event in events if event.get("entity") == "deployment"] == ["d1", "d2"]
            assert (await called(app.url))[0] == 0
            assert (await listed(app.url)).output.count("2/2") == 2  # also of the one whose VMs were never told alive
            await arm(client, "answer-503")
            status, output = await called(app.url)
            assert (status, "lab: it answers 503" in output) == (2, True)
            for wrong in (("--source", "nobody"), ("--source", "other"), ("--deployment", "d1")):
                assert (await called(app.url, *wrong))[0] == 2
            async with aiohttp.ClientSession(app.url) as session:
                (lab,) = [one for one in await items(session) if one["source"] == "lab"]
                assert (lab["reachable"], lab["trouble"], lab["mended"]) == (False, "it answers 503", 0)
                assert lab["swept_at"]
                async with session.get("/readyz") as answer:
                    assert "lab: it answers 503" in await answer.text()


async def items(session: aiohttp.ClientSession) -> list[dict[str, Any]]:
    """What is known of sources; the password is nowhere."""
    async with session.get("/api/v1/sources") as answer:
        text = await answer.text()
        assert HIDDEN not in text
        found: list[dict[str, Any]] = orjson.loads(text)["items"]
        return found
