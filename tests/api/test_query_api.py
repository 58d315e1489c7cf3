"""Questions and answers of the query API, over HTTP and on a real database."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import orjson
import pytest
from yarl import URL

from tests.support.batches import letter, of_deployment
from tests.support.query_api import API, deploy, running_api, store
from tests.support.samples import MALFORMED, SAMPLES

STORY = [SAMPLES[f"rec-deploy-{name}"] for name in ("01-vm-deployed", "02-vm-alive", "03-service-alive")]
FILTERS = {
    "/deployments": "source tenant state deployment=internal_deployment_id",
    "/vms": "source tenant state deployment vm_name",
    "/resources": "source state kind",
    "/operations": "source tenant state transaction_id deployment kind ref",
    "/callbacks": "source deployment vm_name transaction_id family outcome",
    "/transitions": "entity source tenant deployment name entity_id operation state=to_state change",
}
"""By list, each filter and, where it is another, the field that it is about."""
TIMES = {
    "/deployments": "changed_at",
    "/vms": "changed_at",
    "/operations": "first_seen_at",
    "/callbacks": "received_at",
    "/transitions": "at",
}
GONE = "UPDATE vms SET state = 'UNDEPLOYED', ended_at = now(), changed_at = now() WHERE deployment = $1"
RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


async def test_everything_is_found_after_a_deploy(postgres_dsn: str) -> None:
    """Each list and each single thing shows what the callbacks told."""
    await store(postgres_dsn, deploy("dep-a"))
    async with running_api(postgres_dsn) as api:
        (deployment,) = (await api.get("/deployments")).items
        (vm,) = (await api.get("/vms")).items
        (operation,) = (await api.get("/operations")).items
        callbacks = (await api.get("/callbacks")).items
        transitions = (await api.get("/transitions")).items
        assert (deployment["state"], vm["state"], operation["state"]) == ("ACTIVE", "ALIVE", "SUCCEEDED")
        assert [callback["outcome"] for callback in callbacks] == ["applied"] * 3
        assert {entry["entity"] for entry in transitions} == {"deployment", "vm", "operation"}

        whole = await api.get(f"/deployments/default/{deployment['internal_deployment_id']}")
        assert whole.body == {**deployment, "vms": [vm], "vms_truncated": False}
        one = (await api.get(f"/vms/default/{vm['vm_name']}")).body
        assert {name: one[name] for name in vm} == vm
        assert one["incarnation"] == 1
        assert one["incarnations"][0]["instances"][0]["vm_uuid"] == vm["vm_uuid"]
        ended = (await api.get(f"/operations/default/{operation['transaction_id']}")).body
        assert ended == {**operation, "progress": {"expected": 1, "deployed": 1, "alive": 1, "failed": 0}}
        single = (await api.get(f"/callbacks/{callbacks[0]['receipt']}")).body
        assert {name: single[name] for name in callbacks[0]} == callbacks[0]
        assert [name for name, _ in single["headers"] if name == "Content-Type"] == ["Content-Type"]


async def test_items_are_those_of_the_feed(postgres_dsn: str, connection: Any) -> None:
    """List, KV bucket and feed show one and the same item (`event.item`); beside an operation stand its usual times."""
    await store(postgres_dsn, deploy("dep-a"))
    rows = await connection.fetch("SELECT payload::text FROM outbox ORDER BY position")
    published = {event["entity"]: event["item"] for event in (orjson.loads(row[0]) for row in rows)}
    async with running_api(postgres_dsn) as api:
        for path, entity in (("/deployments", "deployment"), ("/vms", "vm")):
            assert (await api.get(path)).items == [published[entity]]
        times = {"usual_s": None, "longest_s": None, "due_at": None}
        assert (await api.get("/operations")).items == [published["operation"] | times]


async def test_times_are_rfc_3339_in_utc(postgres_dsn: str) -> None:
    """Wherever they stand in an answer."""
    await store(postgres_dsn, deploy("dep-a"))
    async with running_api(postgres_dsn) as api:
        for path in ("/deployments", "/vms", "/operations", "/callbacks", "/transitions"):
            for shown in (await api.get(path)).items:
                for name, value in shown.items():
                    if name == "at" or name.endswith("_at"):
                        assert value is None or RFC3339_UTC.fullmatch(value), (path, name, value)


async def test_the_raw_bytes_come_back_and_no_browser_renders_them(postgres_dsn: str) -> None:
    """Exactly as received, to be saved only."""
    letters = deploy("dep-a")
    await store(postgres_dsn, letters)
    async with running_api(postgres_dsn) as api:
        answer = await api.get(f"/callbacks/{letters[0].envelope.receipt}/raw")
        assert answer.body == letters[0].envelope.body
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("sandbox")


async def test_bytes_that_could_not_be_read_come_with_a_warning(postgres_dsn: str) -> None:
    """They may hold what nobody could overwrite; those that were read bear none."""
    letters = [letter(MALFORMED[0]), *deploy("dep-a")]
    await store(postgres_dsn, letters)
    async with running_api(postgres_dsn) as api:
        malformed, good = [await api.get(f"/callbacks/{one.envelope.receipt}/raw") for one in letters[:2]]
        assert "may hold secrets" in malformed.headers["ESC-Receiver-Warning"]
        assert malformed.body == letters[0].envelope.body
        assert "ESC-Receiver-Warning" not in good.headers


async def test_quarantine_is_listed_by_its_outcomes(postgres_dsn: str) -> None:
    """Malformed and unclassified callbacks, in one list."""
    await store(postgres_dsn, [letter(MALFORMED[0]), letter(SAMPLES["seed-01-tenant-create"]), letter(MALFORMED[1])])
    async with running_api(postgres_dsn) as api:
        answer = await api.client.get(f"{api.url}{API}/callbacks?outcome=malformed&outcome=unclassified")
        items = (await answer.json())["items"]
        assert [shown["outcome"] for shown in items] == ["malformed", "malformed"]
        assert all(shown["reason"] for shown in items)


async def test_what_has_not_changed_is_not_sent_again(postgres_dsn: str) -> None:
    """Single things have an entity tag; it changes with them."""
    first, *rest = deploy("dep-a")
    await store(postgres_dsn, [first])
    async with running_api(postgres_dsn) as api:
        name = (await api.get("/deployments")).items[0]["internal_deployment_id"]
        paths = [f"/deployments/default/{name}", f"/callbacks/{first.envelope.receipt}"]
        tags = [(await api.get(path)).headers["ETag"] for path in paths]
        for path, tag in zip(paths, tags, strict=True):
            again = await api.get(path, {"If-None-Match": f'"else", {tag}'})
            assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
        await store(postgres_dsn, rest)
        assert (await api.get(paths[0], {"If-None-Match": tags[0]})).status == 200


@pytest.mark.parametrize(
    ("path", "asked", "parameter"),
    [
        ("/vms", {"sate": "ERROR"}, "sate"),
        ("/vms", {"state": "SLEEPY"}, "state"),
        ("/vms", {"limit": "0"}, "limit"),
        ("/vms", {"limit": "1001"}, "limit"),
        ("/vms", {"limit": "ten"}, "limit"),
        ("/vms", {"source": ""}, "source"),
        ("/vms", {"source": "a\0b"}, "source"),
        ("/vms", {"cursor": "nonsense"}, "cursor"),
        ("/vms", {"since": "yesterday"}, "since"),
        ("/vms", {"since": "2026-01-31T12:00:00"}, "since"),
        ("/vms", {"since": "2026-02-31T12:00:00Z"}, "since"),
        ("/deployments", {"current": "yes"}, "current"),
        ("/transitions", {"entity": "host"}, "entity"),
        ("/transitions", {"after": "12"}, "after"),
        ("/transitions", {"entity_id": "12"}, "entity_id"),
        ("/callbacks", {"order": "random"}, "order"),
        ("/callbacks/not-a-receipt", {}, "receipt"),
        ("/operations/lab1/t1", {"wait": "-1"}, "wait"),
        ("/operations/lab1/t1", {"wait": "301"}, "wait"),
        ("/stats", {"source": "lab1"}, "source"),
        ("/feed", {"entity": "host"}, "entity"),
    ],
)
async def test_a_bad_parameter_is_named(postgres_dsn: str, path: str, asked: dict[str, str], parameter: str) -> None:
    """Unknown ones, too; the problem document says which, and what would be right."""
    async with running_api(postgres_dsn) as api:
        answer = await api.ask("GET", path, params=asked)
        assert answer.status == 400, answer.body
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.body["parameter"] == parameter
        assert answer.body["detail"]


async def test_a_parameter_given_twice_is_a_fault(postgres_dsn: str) -> None:
    """Nobody could say which one was meant."""
    async with running_api(postgres_dsn) as api:
        answer = await api.ask("GET", "/vms?source=lab1&source=lab2")
        assert (answer.status, answer.body["parameter"]) == (400, "source")


async def test_several_states_are_any_of_them(postgres_dsn: str) -> None:
    """Of every list that has states."""
    await store(postgres_dsn, [*deploy("dep-a"), *deploy("dep-b")[:1]])
    async with running_api(postgres_dsn) as api:
        for path, states, names in (
            ("/vms", "state=ALIVE&state=INERT", ["ALIVE", "INERT"]),
            ("/vms", "state=ERROR&state=INERT", ["INERT"]),
            ("/deployments", "state=ACTIVE&state=DEPLOYING", ["ACTIVE", "DEPLOYING"]),
            ("/operations", "state=OPEN&state=SUCCEEDED", ["OPEN", "SUCCEEDED"]),
        ):
            items = (await api.ask("GET", f"{path}?{states}")).body["items"]
            assert sorted(item["state"] for item in items) == names, path


async def test_search_and_total_are_about_all_pages(postgres_dsn: str) -> None:
    """Words in any case and order, in whatever names the thing; the total counts what other pages hold."""
    await store(postgres_dsn, [*deploy("dep-a"), *deploy("dep-b"), *deploy("dep-c")])
    async with running_api(postgres_dsn) as api:
        (vm,) = (await api.get("/vms", deployment="dep-b")).items
        for path, words, found in (
            ("/vms", vm["vm_uuid"].upper(), 3),
            ("/vms", "DEP-B", 1),
            ("/vms", f"{vm['vm_name']} dep-b", 1),
            ("/vms", "dep-b dep-a", 0),
            ("/vms", "%", 0),
            ("/deployments", "dep-c", 1),
            ("/operations", "deploy", 3),
            ("/operations", "dep-a", 1),
        ):
            page = (await api.get(path, q=words, limit=1, total="true")).body
            assert (page["total"], len(page["items"])) == (found, min(found, 1)), (path, words)
        assert "total" not in (await api.get("/vms")).body


async def test_search_and_total_of_what_happened(postgres_dsn: str) -> None:
    """The same of the ledgers; a total that would need more rows to be looked through than a page is not told."""
    await store(postgres_dsn, [*deploy("dep-a"), *deploy("dep-b")])
    async with running_api(postgres_dsn) as api:
        for path, words, found in (
            ("/transitions", "", 14),
            ("/transitions", "DEP-B", 7),
            ("/transitions", "dep-b vm-alive", 1),
            ("/transitions", "dep-b dep-a", 0),
            ("/callbacks", "", 6),
            ("/callbacks", "vm_alive dep-a", 1),
        ):
            page = (await api.get(path, q=words or None, limit=1, total="true", order="newest")).body
            assert (page["total"], len(page["items"])) == (found, min(found, 1)), (path, words)
            if page["next"]:
                after = (await api.get(path, q=words or None, limit=1, total="true", cursor=page["next"])).body
                assert after["total"] == found, (path, words)
        assert "total" not in (await api.get("/transitions")).body
    async with running_api(postgres_dsn, query_scan_rows_max=5) as api:
        page = (await api.get("/transitions", q="dep-b", total="true", order="newest")).body
        assert (page["total"], len(page["items"]), page["next"] is None) == (None, 5, False)
        assert (await api.get("/transitions", total="true")).body["total"] == 14


async def test_what_changed_last_comes_first(postgres_dsn: str) -> None:
    """In every list of what is, over its pages, each thing once."""
    await store(postgres_dsn, [*deploy("dep-b"), *deploy("dep-a"), *deploy("dep-c")])
    async with running_api(postgres_dsn) as api:
        for path in ("/deployments", "/vms"):
            times = [one["changed_at"] for one in await api.all_items(path, order="newest", limit=1)]
            assert len(times) == 3
            assert times == sorted(times, reverse=True)


async def test_a_time_whose_plus_became_a_space_is_understood(postgres_dsn: str) -> None:
    """Clients forget to write %2B."""
    async with running_api(postgres_dsn) as api:
        assert (await api.ask("GET", "/vms?since=2026-01-31T12:00:00+01:00")).status == 200


async def test_what_is_not_known_is_404(postgres_dsn: str) -> None:
    """With a problem document."""
    v7 = "01960000-0000-7000-8000-000000000000"
    unknown = ["/deployments/a/b", "/vms/a/b", "/operations/a/b", "/explain/a/b"]
    unknown += [f"/callbacks/{v7}", f"/callbacks/{v7}/raw", f"/callbacks/{uuid4()}"]
    async with running_api(postgres_dsn) as api:
        for path in unknown:
            answer = await api.get(path)
            assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json"), path


async def test_every_filter_chooses_what_it_says(postgres_dsn: str) -> None:
    """Each filter of each list, against what the list shows without it."""
    letters = [*deploy("dep-a"), *deploy("dep-b")[:2], letter(MALFORMED[0]), letter(SAMPLES["seed-01-tenant-create"])]
    await store(postgres_dsn, letters, together=3)
    async with running_api(postgres_dsn) as api:
        for path, filters in FILTERS.items():
            everything = (await api.get(path)).items
            assert everything, path
            for told in filters.split():
                parameter, _, field = told.partition("=")
                column = field or parameter
                for value in {shown[column] for shown in everything} - {None}:
                    chosen = (await api.get(path, **{parameter: value})).items
                    assert chosen == [shown for shown in everything if shown[column] == value], (path, parameter, value)
            assert (await api.get(path, source="elsewhere")).items == []


async def test_a_reference_finds_all_that_its_operations_moved(postgres_dsn: str) -> None:
    """On every list; and several states may be given, of the ledger too."""
    mine = [letter(of_deployment(one, "dep-a"), ref="Order-4711") for one in STORY]
    tenant = letter(SAMPLES["seed-01-tenant-create"], ref="Order-4711")
    await store(postgres_dsn, [*mine, tenant, *deploy("dep-b"), letter(SAMPLES["rec-network-create"], ref="other")])
    async with running_api(postgres_dsn) as api:
        found = {path: (await api.get(path, ref="Order-4711")).items for path in FILTERS}
        assert [one["internal_deployment_id"] for one in found["/deployments"]] == ["dep-a"]
        assert [one["deployment"] for one in found["/vms"]] == ["dep-a"]
        assert [one["kind"] for one in found["/resources"]] == ["tenant"]
        assert len(found["/operations"]) == 2
        assert {one["receipt"] for one in found["/callbacks"]} == {str(one.envelope.receipt) for one in [*mine, tenant]}
        assert {one["ref"] for one in found["/transitions"]} == {"Order-4711"}
        for path in FILTERS:
            assert (await api.get(path, ref="order-4711")).items == [], "in this very spelling"
        several = (await api.ask("GET", "/transitions?state=ALIVE&state=ACTIVE&deployment=dep-b")).items
        assert sorted(one["to_state"] for one in several) == ["ACTIVE", "ALIVE"]
        assert (await api.get("/vms", current="false")).items == []
        assert len((await api.get("/vms", current="true")).items) == 2


async def test_a_span_of_time_begins_inside_and_ends_outside(postgres_dsn: str) -> None:
    """`since` includes its moment, `until` does not; on lists of what is and of what happened."""
    for name in ("dep-a", "dep-b", "dep-c"):
        await store(postgres_dsn, deploy(name))
    async with running_api(postgres_dsn) as api:
        for path, column in TIMES.items():
            everything = (await api.get(path)).items
            times = sorted(shown[column] for shown in everything)
            since, until = times[len(times) // 3], times[-1]
            chosen = (await api.get(path, since=since, until=until)).items
            assert chosen == [shown for shown in everything if since <= shown[column] < until], path
            assert chosen


async def test_the_live_vm_is_given_where_a_name_is_not_enough(postgres_dsn: str, connection: Any) -> None:
    """Of several of one name the one that lives, else the one that changed last; `deployment` says which is meant."""
    await store(postgres_dsn, [*deploy("dep-a"), *deploy("dep-b")])
    await connection.execute("UPDATE vms SET vm_name = 'same'")
    await connection.execute(GONE, "dep-a")
    async with running_api(postgres_dsn) as api:
        assert (await api.get("/vms/default/same")).body["deployment"] == "dep-b"
        assert (await api.get("/vms/default/same", deployment="dep-a")).body["deployment"] == "dep-a"
        await connection.execute(GONE, "dep-b")
        assert (await api.get("/vms/default/same")).body["deployment"] == "dep-b"


async def test_a_source_named_n_is_paged_like_others(postgres_dsn: str, connection: Any) -> None:
    """Its cursors are not taken for those of the lists with the newest first, which begin with `n`."""
    await store(postgres_dsn, [*deploy("dep-a"), *deploy("dep-b")])
    for table in ("deployments", "vms", "operations"):
        await connection.execute(f"UPDATE {table} SET source = 'n'")  # noqa: S608 - names of tables
    async with running_api(postgres_dsn) as api:
        for path in ("/deployments", "/vms", "/operations"):
            assert len(await api.all_items(path, limit=1)) == 2, path


async def test_names_may_be_anything(postgres_dsn: str, connection: Any) -> None:
    """Slashes, quotes, markup, right-to-left and 300 characters are names like others, in paths, filters, cursors."""
    names = [
        "a/b",
        "a~b",
        "${a}",
        "{{",
        "..",
        "<script>",
        "it's",
        '"',
        "שלום",
        "x" * 300,
        "100%",
        "a b+c",
        "\u202egnp.exe",
    ]
    await store(postgres_dsn, [one for number in range(len(names)) for one in deploy(f"dep-{number}")])
    for number, name in enumerate(names):
        await connection.execute("UPDATE vms SET vm_name = $1 WHERE deployment = $2", name, f"dep-{number}")
    async with running_api(postgres_dsn) as api:
        listed = await api.all_items("/vms", limit=1)
        assert sorted(shown["vm_name"] for shown in listed) == sorted(names)
        for name in names:
            path = URL(f"{api.url}{API}/vms/default/{quote(name, safe='')}", encoded=True)
            async with api.client.get(path) as answer:
                assert (await answer.json())["vm_name"] == name


async def test_stats_count_by_state(postgres_dsn: str) -> None:
    """What is in which state, what was not understood, what waits to be published."""
    await store(
        postgres_dsn,
        [*deploy("dep-a"), *deploy("dep-b")[:1], letter(MALFORMED[0]), letter(SAMPLES["seed-01-tenant-create"])],
    )
    async with running_api(postgres_dsn) as api:
        stats = (await api.get("/stats")).body
        assert stats["vms"] == {"ALIVE": 1, "INERT": 1}
        assert stats["operations"]["SUCCEEDED"] == 2
        assert stats["resources"] == {"tenant": {"CREATED": 1}}
        assert stats["quarantine"]["callbacks_last_day"] == 1
        assert stats["outbox"]["messages"] > 0
        assert RFC3339_UTC.fullmatch(stats["ledger"]["latest_at"])


async def test_who_asks_for_stats_again_does_not_wait_for_the_counting(postgres_dsn: str) -> None:
    """What is known is given at once, and what is counted meanwhile to the next."""
    async with running_api(postgres_dsn) as api:
        first = (await api.get("/stats")).body
        await store(postgres_dsn, deploy("dep-a"))
        async with asyncio.timeout(30):
            while (stats := (await api.get("/stats")).body)["at"] == first["at"]:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.1)
        assert (first["vms"], stats["vms"]) == ({}, {"ALIVE": 1})


async def test_head_is_answered_and_other_methods_are_not(postgres_dsn: str) -> None:
    """HEAD as GET without a body; the rest is 405 with what is allowed."""
    async with running_api(postgres_dsn) as api:
        head = await api.ask("HEAD", "/vms")
        assert (head.status, head.body) == (200, b"")
        for method, path in (("POST", "/vms"), ("DELETE", "/stats"), ("HEAD", "/feed"), ("OPTIONS", "/vms")):
            answer = await api.ask(method, path)
            assert answer.status == 405
            assert "GET" in answer.headers["Allow"]
            assert not [name for name in answer.headers if name.startswith("Access-Control")]


async def test_postgresql_away_is_503(postgres_dsn: str) -> None:
    """A problem document with Retry-After, and no stack trace."""
    async with running_api("postgresql://nobody@127.0.0.1:1/none", query_timeout_s=2.0) as api:
        for path in ("/vms", "/callbacks", "/operations/a/b", "/feed"):
            answer = await api.get(path)
            assert (answer.status, "Retry-After" in answer.headers) == (503, True), path


async def test_a_question_that_takes_too_long_is_ended(postgres_dsn: str, connection: Any) -> None:
    """By PostgreSQL itself; the next one is answered, on the same pool."""
    async with running_api(postgres_dsn, query_timeout_s=0.5, query_pool_size=1) as api:
        async with connection.transaction():
            await connection.execute("LOCK TABLE vms IN ACCESS EXCLUSIVE MODE")
            answer = await api.get("/vms")
            assert (answer.status, "query_timeout_s" in answer.body["detail"]) == (503, True)
        assert (await api.get("/vms")).status == 200
