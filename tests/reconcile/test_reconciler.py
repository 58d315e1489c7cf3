"""A receiver asks an emulated ESC, with a real PostgreSQL: what was lost is mended; bad surroundings move nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from receiver.config.settings import Settings
from receiver.model.entities import Decision, Operation
from receiver.model.notification import Outcome
from receiver.reconcile.sweep import Wanted
from tests.support.auditor import assert_ledger_is_whole
from tests.support.certificates import Authority
from tests.support.emulator import orchestrating
from tests.support.feed import until
from tests.support.reconciling import AskingReceiver, arm, asking_receiver, deploy, esc_of, hear

CLOSING = "SERVICE_ALIVE"


async def test_what_was_lost_is_mended_and_told(postgres_dsn: str) -> None:
    """The end of a deploy: the operation is inferred, the answer is kept like a message, everything is published."""
    async with orchestrating() as client:
        heard = await deploy(client, "d1")
        await hear(postgres_dsn, [one for one in heard if one.says != CLOSING])
        async with asking_receiver(postgres_dsn, esc=esc_of(client)) as receiver:
            would = [event["rule"] for event in await receiver.ask(dry_run=True) if event["event"] == "change"]
            assert (await receiver.states())["d d1"] == "INERT"
            events = await receiver.ask()
            assert [event["rule"] for event in events if event["event"] == "change"] == would
            assert would == ["reconcile-state", "reconcile-succeeded"]
            assert events[-1] == {
                "event": "result", "source": "lab", "deployments": 1, "changes": 2, "missing": 0, "dry_run": False,
            }  # fmt: skip
            assert (await receiver.states())["o deploy"] == "SUCCEEDED"
            row = await receiver.connection.fetchrow("SELECT * FROM callbacks WHERE channel = 'reconcile'")
            assert row
            assert (row["deployment"], row["outcome"], row["rule"]) == ("d1", "applied", "reconcile-state")
            assert b"SERVICE_ACTIVE_STATE" in row["body"]
            await assert_ledger_is_whole(receiver.connection)
            published = "SELECT payload FROM outbox WHERE headers ->> 'ce-type' = 'esc.operation.succeeded.v1'"
            assert '"inferred":true' in await receiver.connection.fetchval(published)
            assert [event["event"] for event in await receiver.ask()] == ["progress", "result"]
            swept = await receiver.connection.fetchrow("SELECT * FROM reconciliations")
            assert swept
            assert (swept["reachable"], swept["trouble"], swept["deployments"]) == (True, None, 1)


SURROUNDINGS = {
    "answer-401": "it does not take our username and password (401)",
    "answer-503": "it answers 503",
    "answer-garbled": "its answer is not understood: a document type declaration (DTD) is refused (line 1, column 1)",
    "answer-cut": "it cannot be asked: ",
    "answer-huge": "its answer is larger than reconcile_bytes_max (100000 bytes)",
    "answer-elsewhere": "it sends us to 192.0.2.1 (302), where nobody said we should ask",
    "answer-late": "no answer within reconcile_timeout_s (0.5 s)",
}


async def test_answers_that_cannot_be_believed_move_nothing(postgres_dsn: str) -> None:
    """One line each, and the next answer counts again; one that is not understood is kept as a dead letter."""
    async with orchestrating() as client:
        heard = await deploy(client, "d1")
        await hear(postgres_dsn, [one for one in heard if one.says != CLOSING])
        limits: dict[str, Any] = {"reconcile_bytes_max": 100_000, "reconcile_timeout_s": 0.5}
        async with asking_receiver(postgres_dsn, esc=esc_of(client), **limits) as receiver:
            for fault, why in SURROUNDINGS.items():
                await arm(client, fault)
                with capture_logs() as lines:
                    assert (await receiver.trouble()).startswith(why)
                assert [line["why"].startswith(why) for line in lines if "cannot be asked" in line["event"]] == [True]
                assert receiver.reconciler.troubles["lab"].startswith(why)
            kept = await receiver.connection.fetch("SELECT * FROM callbacks WHERE channel = 'reconcile'")
            assert [(row["outcome"], row["body"][:9]) for row in kept] == [("malformed", b"<!DOCTYPE")]
            assert (await receiver.ask())[-1]["changes"] == 2
            assert receiver.reconciler.troubles == {}


async def test_an_esc_that_is_away_or_elsewhere(postgres_dsn: str) -> None:
    """A wrong port, a wrong path, a wrong password, a password that cannot be read."""
    async with orchestrating(basic=("admin", "s3cret")) as client:
        right = esc_of(client, username="admin", password="s3cret")
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"url": "http://127.0.0.1:1/ESCManager"}, "it cannot be asked: "),
            (
                {"url": client.emulator.url},
                f"{client.emulator.url}/v0/deployments is not there",
            ),
            ({"password": "secret"}, "it does not take our username and password (401)"),
            ({"password": None, "password_file": "/nowhere"}, "password_file /nowhere cannot be read"),
        ]
        for changed, why in wrong:
            async with asking_receiver(postgres_dsn, esc=right | changed) as receiver:
                assert (await receiver.trouble()).startswith(why)
        async with asking_receiver(postgres_dsn, esc=right) as receiver:
            assert (await receiver.ask())[-1]["event"] == "result"


async def test_its_certificate_is_looked_at(postgres_dsn: str, tmp_path: Path) -> None:
    """Trusted by `ca_file`; another authority's, or none, is not enough; `verify = false` takes any."""
    async with orchestrating(https_port=0) as client:
        url, ours = f"{client.emulator.https_url}/ESCManager", tmp_path / "esc.pem"
        ours.write_text((await client.ask("GET", "/emulator/certificate")).text)
        cases: list[tuple[dict[str, Any], str]] = [
            ({}, "its certificate is not trusted"),
            ({"ca_file": Authority(tmp_path).file}, "its certificate is not trusted"),
            ({"ca_file": tmp_path / "none.pem"}, "ca_file "),
            ({"ca_file": ours}, ""),
            ({"verify": False}, ""),
        ]
        for more, why in cases:
            async with asking_receiver(postgres_dsn, esc={"url": url, **more}) as receiver:
                last = (await receiver.ask())[-1]
                assert last.get("reason", "").startswith(why), more
                assert (last["event"] == "result") == (not why), more


async def test_an_empty_list_is_not_believed_at_first(postgres_dsn: str) -> None:
    """Asked again, it has them all; when it still has none, they stay until a person says otherwise."""
    names = [f"d{number}" for number in range(5)]
    async with orchestrating() as client:
        await hear(postgres_dsn, await deploy(client, *names))
        async with asking_receiver(postgres_dsn, esc=esc_of(client)) as receiver:
            await arm(client, "answer-empty")
            assert [event["event"] for event in await receiver.ask()] == ["confirming", "progress", "result"]
            await arm(client, "answer-empty", 2)
            events = await receiver.ask()
            assert {"event": "missing", "source": "lab", "missing": 5, "allowed": 3} in events
            assert (events[-1]["changes"], events[-1]["missing"]) == (0, 5)
            assert set((await receiver.states()).values()) == {"ACTIVE", "ALIVE", "SUCCEEDED"}
            await arm(client, "answer-empty", 2)
            events = await receiver.ask(yes=True)
            assert events[-1]["changes"] == 15
            states = await receiver.states()
            assert {states[f"d {name}"] for name in names} == {"UNDEPLOYED"}
            assert (await receiver.ask())[-1]["changes"] == 15  # ESC had only forgotten them
            assert (await receiver.states())["d d0"] == "ACTIVE"
            await assert_ledger_is_whole(receiver.connection)


async def test_a_few_that_are_gone_are_believed(postgres_dsn: str) -> None:
    """All of the undeploy was lost."""
    async with orchestrating() as client:
        await hear(postgres_dsn, await deploy(client, "d1", "d2"))
        await client.ask("DELETE", "/v0/deployments/d1")
        await client.done()
        async with asking_receiver(postgres_dsn, esc=esc_of(client)) as receiver:
            await receiver.ask()
            states = await receiver.states()
            assert (states["d d1"], states["d d2"]) == ("UNDEPLOYED", "ACTIVE")


async def test_one_that_is_not_there_is_asked_for_twice(postgres_dsn: str) -> None:
    """By its id: 404, and again 404."""
    async with orchestrating() as client:
        await hear(postgres_dsn, await deploy(client, "d1"))
        await client.ask("DELETE", "/v0/deployments/d1")
        await client.done()
        async with asking_receiver(postgres_dsn, esc=esc_of(client)) as receiver:
            events = await receiver.ask(deployments=("d1",))
            assert [event["event"] for event in events if event["event"] != "change"] == [
                "confirming",
                "progress",
                "result",
            ]
            assert (await receiver.states())["d d1"] == "UNDEPLOYED"


async def test_one_receiver_asks_at_a_time_and_none_while_callbacks_wait(postgres_dsn: str) -> None:
    """The other one says so."""
    async with orchestrating() as client:
        await deploy(client, "d1")
        esc = esc_of(client)
        async with asking_receiver(postgres_dsn, esc=esc) as first, asking_receiver(postgres_dsn, esc=esc) as second:
            sweep = first.reconciler.sweep("lab", Wanted())
            assert (await anext(sweep))["event"] == "change"
            assert await second.trouble() == "another receiver is asking it"
            async for _ in sweep:
                pass
            assert (await second.ask())[-1]["event"] == "result"
        async with asking_receiver(postgres_dsn, lambda: True, esc=esc) as behind:
            assert await behind.trouble() == "callbacks wait in the spool; they are first"


async def test_an_overdue_operation_is_asked_about_at_once_and_an_esc_at_start(postgres_dsn: str) -> None:
    """By the job: what was lost is mended without anybody's doing."""
    async with orchestrating() as client:
        heard = await deploy(client, "d1", "d2")
        await hear(postgres_dsn, [one for one in heard if one.says != CLOSING])
        async with asking_receiver(postgres_dsn, esc=esc_of(client), reconcile_every_s=0) as receiver:
            async with running(receiver):
                rows = await receiver.connection.fetch("SELECT * FROM operations WHERE deployment = 'd1'")
                operation = Operation(*[rows[0][name] for name in Operation._fields])
                receiver.reconciler.became_overdue([Decision(Outcome.APPLIED, "", "", (operation,))])
                await until(lambda: has_state(receiver, "d1"))
                await until(lambda: is_free(receiver))
            assert (await receiver.states())["d d2"] == "INERT"
        async with asking_receiver(postgres_dsn, esc=esc_of(client)) as receiver, running(receiver):
            await until(lambda: has_state(receiver, "d2"))


async def has_state(receiver: AskingReceiver, name: str) -> bool:
    """Whether it is active."""
    return (await receiver.states())[f"d {name}"] == "ACTIVE"


async def is_free(receiver: AskingReceiver) -> bool:
    """Whether another receiver may ask."""
    lease = "SELECT leased_until = '-infinity' FROM reconciliations"
    return bool(await receiver.connection.fetchval(lease))


class running:  # noqa: N801 -- a context
    """The job of a receiver, meanwhile."""

    def __init__(self, receiver: AskingReceiver) -> None:
        self._receiver = receiver

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._receiver.reconciler.run())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@pytest.mark.parametrize(
    ("esc", "fault"),
    [
        ({"url": "ftp://esc"}, "is no http:// or https:// address"),
        ({"url": "https://admin:s3cret@esc"}, "is an address alone"),
        ({"url": "https://esc", "username": "admin"}, "username goes with password or password_file"),
        ({"url": "https://esc", "password": "s3cret"}, "username goes with password or password_file"),
        ({"url": "https://esc", "username": "a", "password": "s3cret", "password_file": "f"}, "only one can count"),
        ({"url": "https://esc", "pasword": "s3cret"}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_are_wrong_are_named_without_the_secret(esc: dict[str, str], fault: str) -> None:
    """As everywhere; nor is it shown of one that is right."""
    with pytest.raises(ValueError, match=fault) as found:
        Settings.model_validate({"sources": {"lab": {"esc": esc}}})
    assert "s3cret" not in str(found.value)
    right = {"url": "https://esc", "username": "admin", "password": "s3cret"}
    settings = Settings.model_validate({"sources": {"lab": {"esc": right}}})
    assert "s3cret" not in f"{settings!r}{settings.sources['lab'].shown()}"
