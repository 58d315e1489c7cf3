"""`?at=`: what the API says of a moment is what it said at that moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any

import pytest

from esc_lab.simulator import Faults, Traffic
from receiver.model.envelope import Envelope, read_head
from receiver.model.ids import stamped
from receiver.model.notification import Channel
from receiver.parsing.parsed_callback import ParsedCallback, read
from tests.jobs.test_learning import learning
from tests.support.batches import decisions, keeping, letter, of_deployment
from tests.support.query_api import ALIVE, DEPLOYED, SERVICE_ALIVE, RunningApi, deploy, running_api, store
from tests.support.samples import SAMPLES

BEGAN_AT = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
LISTS = ("/deployments", "/vms", "/operations")
TOLD = {
    "/deployments": ("id", "incarnation", "current", "state", "first_seen_at", "changed_at", "ended_at"),
    "/vms": ("id", "deployment_id", "vm_name", "state", "first_seen_at", "changed_at", "ended_at", "vm_uuid"),
    "/operations": ("id", "transaction_id", "state", "ended_at"),
}
"""What must be the same, then and now."""


def history(seed: int, messages: int) -> Iterator[ParsedCallback]:
    """ESC's messages about some deployments in turns, some late or repeated: one arrives every ten seconds."""
    traffic = Traffic(seed, deployments=4, operations=5, faults=Faults(duplicate=0.1, reorder=0.2))
    lives = [[one for delivery in life for one in delivery.sendings] for life in traffic.lives()]
    turns = [sending.message for turn in zip_longest(*lives) for sending in turn if sending]
    for number, message in enumerate(turns[:messages]):
        at = BEGAN_AT + number * timedelta(seconds=10)
        head = read_head([(name.encode(), value.encode()) for name, value in message.headers.items()], 65_536)
        yield read(
            Envelope.of(
                head, receipt=stamped(round(at.timestamp() * 1e9)), received_at=at, source="default",
                channel=Channel(message.channel),
                remote="127.0.0.1", ref=None, body=message.body, redacted=False,
            ), 64,
        )  # fmt: skip


def stated(path: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What must be the same of each."""
    return sorted(({name: one[name] for name in TOLD[path]} for one in items), key=lambda one: str(one["id"]))


def written(at: datetime) -> str:
    """As a parameter."""
    return f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"


async def said(api: RunningApi, **asked: Any) -> dict[str, list[dict[str, Any]]]:
    """All lists."""
    return {path: stated(path, await api.all_items(path, limit=7, **asked)) for path in LISTS}


@pytest.mark.parametrize("seed", [11, 12])
async def test_the_past_is_what_the_present_was(postgres_dsn: str, seed: int) -> None:
    """After each message, everything is asked for; once all is over, each of these moments is asked for again."""
    live: dict[datetime, dict[str, list[dict[str, Any]]]] = {}
    async with running_api(postgres_dsn, query_rate_per_s=100_000) as api:
        async with keeping(postgres_dsn) as keeper:
            for callback in history(seed, 45):
                await decisions(keeper, [callback])
                live[callback.envelope.received_at] = await said(api)
        assert len({len(lists["/vms"]) for lists in live.values()}) > 3
        for at, lists in live.items():
            told = await said(api, at=written(at))
            for path in LISTS:
                assert told[path] == lists[path], (at, path)
            counted = (await api.get("/stats", at=written(at))).body
            assert all(counted[path[1:]] == Counter(one["state"] for one in lists[path]) for path in LISTS), at
            later = at + timedelta(seconds=9)
            assert stated("/vms", await api.all_items("/vms", at=written(later))) == lists["/vms"]


def deploy_at(name: str, at: datetime) -> list[ParsedCallback]:
    """As `deploy`, a second between its messages."""
    samples = (of_deployment(sample, name) for sample in (DEPLOYED, ALIVE, SERVICE_ALIVE))
    return [letter(one, received_at=at + timedelta(seconds=number)) for number, one in enumerate(samples)]


async def two_days(dsn: str) -> datetime:
    """Of dep-a, which came up two days ago, and dep-b, of yesterday, which is in ERROR today; when that was."""
    first, second = BEGAN_AT - timedelta(days=2), BEGAN_AT - timedelta(days=1)
    letters = deploy_at("dep-a", first) + deploy_at("dep-b", second)
    init = of_deployment(SAMPLES["rec-recovery-01-init"], "dep-b")
    failed = of_deployment(SAMPLES["rec-recovery-05-complete-fail"], "dep-b")
    letters += [letter(init, received_at=BEGAN_AT), letter(failed, received_at=BEGAN_AT + timedelta(seconds=1))]
    await store(dsn, letters)
    return second


async def test_single_things_as_they_were(postgres_dsn: str) -> None:
    """A deployment with its VMs, a VM, an operation; before they were first heard of they are not found."""
    second = await two_days(postgres_dsn)
    async with running_api(postgres_dsn) as api:
        (vm,) = (await api.get("/vms", deployment="dep-b")).items
        (operation,) = (await api.get("/operations", deployment="dep-b", kind="deploy")).items
        paths = {
            "/deployments/default/dep-b": ["DEPLOYING", "ACTIVE"],
            f"/vms/default/{vm['vm_name']}": ["INERT", "ALIVE"],
            f"/operations/default/{operation['transaction_id']}": ["OPEN", "SUCCEEDED"],
        }
        for path, states in paths.items():
            assert (await api.get(path, at=written(second - timedelta(seconds=1)))).status == 404
            found = [await api.get(path, at=written(second + timedelta(seconds=s))) for s in (0, 2)]
            assert [one.body["state"] for one in found] == states, path
        whole = (await api.get("/deployments/default/dep-b", at=written(second))).body
        assert [one["state"] for one in whole["vms"]] == ["INERT"]
        assert vm["state"] == "ERROR"


async def test_filters_pages_and_totals_are_of_that_time(postgres_dsn: str) -> None:
    """What is counted is what all pages show."""
    second = await two_days(postgres_dsn)
    asked: list[tuple[str, dict[str, Any], list[int]]] = [
        ("/vms", {"state": "ALIVE"}, [1, 2, 1]),
        ("/vms", {"state": "ERROR"}, [0, 0, 1]),
        ("/vms", {"since": written(second)}, [0, 1, 1]),
        ("/vms", {"until": written(second)}, [1, 1, 1]),
        ("/vms", {"deployment": "dep-b"}, [0, 1, 1]),
        ("/vms", {"q": "dep-a"}, [1, 1, 1]),
        ("/deployments", {"current": "true"}, [1, 2, 2]),
        ("/operations", {"kind": "deploy", "order": "newest"}, [1, 2, 2]),
        ("/operations", {"state": "OPEN"}, [0, 0, 1]),
    ]
    moments = (second - timedelta(hours=1), second + timedelta(hours=1), BEGAN_AT + timedelta(minutes=1))
    async with running_api(postgres_dsn) as api:
        for path, filters, numbers in asked:
            for at, number in zip(moments, numbers, strict=True):
                given = {"at": written(at), "limit": 1, **filters}
                answer = await api.get(path, total="true", **given)
                assert (answer.body["total"], len(await api.all_items(path, **given))) == (number, number), given
                assert datetime.fromisoformat(answer.body["at"]) == at


async def test_a_page_looks_through_so_many_rows(postgres_dsn: str) -> None:
    """A filter that few pass: pages are empty and go on, and what was not all looked through has no number."""
    await store(postgres_dsn, [one for number in range(8) for one in deploy(f"dep-{number}")])
    async with running_api(postgres_dsn, query_scan_rows_max=10) as api:
        asked: dict[str, Any] = {"at": written(datetime.now(UTC)), "state": "ERROR", "limit": 1}
        page = await api.get("/vms", total="true", **asked)
        assert (page.items, page.body["total"]) == ([], None)
        assert page.body["next"]
        assert await api.all_items("/vms", **asked) == []
        assert len(await api.all_items("/vms", **{**asked, "state": "ALIVE"})) == 8


@pytest.mark.parametrize(
    ("path", "asked", "status", "parameter"),
    [
        ("/vms", {"at": written(datetime.now(UTC) + timedelta(hours=1))}, 400, "at"),
        ("/vms", {"at": "2026-01-31T12:00:00"}, 400, "at"),
        ("/vms", {"at": "1h"}, 400, "at"),
        ("/vms", {"at": "2001-01-01T00:00:00Z"}, 410, "at"),
        ("/deployments/default/dep-a", {"at": "2001-01-01T00:00:00Z"}, 410, "at"),
        ("/operations/default/x", {"at": written(BEGAN_AT), "wait": 5}, 400, "wait"),
        ("/vms", {"at": written(BEGAN_AT), "order": "newest"}, 400, "order"),
        ("/stats", {"at": "2001-01-01T00:00:00Z"}, 410, "at"),
        ("/resources", {"at": written(BEGAN_AT)}, 400, "at"),
    ],
)
async def test_moments_that_cannot_be_asked_for(
    postgres_dsn: str, path: str, asked: dict[str, Any], status: int, parameter: str
) -> None:
    """To come, without a zone, of no form, before what is kept; and what has no meaning in the past."""
    await store(postgres_dsn, deploy("dep-a"))
    async with running_api(postgres_dsn) as api:
        answer = await api.get(path, **asked)
        assert (answer.status, answer.body["parameter"]) == (status, parameter), answer.body
        if status == 410:
            earliest = datetime.fromisoformat(answer.body["earliest_at"])
            assert earliest.day == 1
            assert (await api.get("/vms", at=written(earliest))).items == []


async def test_what_came_before_the_oldest_entry_is_told_by_what_followed(postgres_dsn: str, connection: Any) -> None:
    """The entries of its beginning are past their retention: a VM was what the first that is kept says it left."""
    await store(postgres_dsn, deploy("dep-a"))
    await connection.execute("UPDATE vms SET first_seen_at = now() - interval '20 months'")
    await connection.execute("DELETE FROM transitions WHERE entity = 'vm' AND from_state = 'UNSEEN'")
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    async with running_api(postgres_dsn) as api:
        (vm,) = (await api.get("/vms", at=written(month))).items
        assert (vm["state"], vm["changed_at"]) == ("INERT", None)


async def test_days_that_are_over_are_counted_once(postgres_dsn: str, connection: Any) -> None:
    """Stats of a moment are the same before and after, whether all days were counted at once or the last ones later."""
    for number, days in enumerate((9, 9, 7, 5, 3, 1, 0)):
        await store(postgres_dsn, deploy_at(f"dep-{number}", BEGAN_AT - timedelta(days=days)))
    moments = [BEGAN_AT - timedelta(days=days, seconds=-offset) for days in range(10) for offset in (-1, 0, 1, 2)]

    async def told(api: RunningApi) -> list[Any]:
        return [(await api.get("/stats", at=written(at))).body for at in moments]

    async def count_days() -> int:
        await connection.execute("UPDATE learning SET learned_at = '-infinity'")
        async with learning(postgres_dsn) as (one, _):
            assert await one.run_once()
        days: int = await connection.fetchval("SELECT count(DISTINCT day) FROM counts_by_day")
        return days

    async with running_api(postgres_dsn) as api:
        before = await told(api)
        assert [one["vms"].get("ALIVE", 0) for one in before[3::4]] == [7, 6, 5, 5, 4, 4, 3, 3, 2, 2]
        assert await count_days() == 4
        assert await told(api) == before
        await connection.execute("DELETE FROM counts_by_day WHERE day > $1", BEGAN_AT - timedelta(days=8))
        assert await told(api) == before
        assert await count_days() == 4
        assert await told(api) == before


async def test_a_counted_day_needs_nothing_of_other_days(postgres_dsn: str, connection: Any) -> None:
    """Neither what came long before or after is looked at, nor what is now."""
    for number, days in enumerate((9, 7, 5)):
        await store(postgres_dsn, deploy_at(f"dep-{number}", BEGAN_AT - timedelta(days=days)))
    async with learning(postgres_dsn) as (one, _):
        assert await one.run_once()
    await connection.execute("DELETE FROM transitions WHERE at < $1", BEGAN_AT - timedelta(days=8))
    await connection.execute("DELETE FROM transitions WHERE at > $1", BEGAN_AT - timedelta(days=6))
    await connection.execute("UPDATE vms SET state = 'ERROR'")
    async with running_api(postgres_dsn) as api:
        for days, alive in ((8, 1), (7, 2), (6, 2)):
            at = written(BEGAN_AT - timedelta(days=days, seconds=-2))
            assert (await api.get("/stats", at=at)).body["vms"] == {"ALIVE": alive}


async def test_a_day_is_no_base_when_entries_since_then_are_gone(postgres_dsn: str, connection: Any) -> None:
    """Its days were not counted any more, and months of the ledger were dropped."""
    await store(postgres_dsn, deploy("dep-a"))
    await connection.execute("INSERT INTO counts_by_day VALUES ('2001-01-01', 'vm', 'ALIVE', 50)")
    async with running_api(postgres_dsn) as api:
        assert (await api.get("/stats", at=written(datetime.now(UTC)))).body["vms"] == {"ALIVE": 1}
