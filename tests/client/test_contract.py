"""The feed's contract: AsyncAPI by its own parser, compatible with what was promised, read by others' clients."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from esc_receiver_client import EscFeed
from esc_receiver_client.data import KINDS
from receiver.api.asyncapi import ENTITIES, document, schema_of
from receiver.events.cloudevents import OutboxRow, malformed_event, unclassified_event
from tests.events.test_cloudevents import notification
from tests.support import feed
from tests.support.batches import letter
from tests.support.consumers import is_acknowledged, publish, take
from tests.support.program import CHECKOUT
from tests.support.query_api import running_api
from tests.support.samples import MALFORMED
from tools.docs.asyncapi import COPY, breaks, refused, written

PARSER, JAVASCRIPT = CHECKOUT / "tests" / "client" / "asyncapi", CHECKOUT / "docs" / "examples" / "consumer"


def installed(folder: Path, place: Path) -> Path:
    """A copy of a program in JavaScript, with what its lock file names."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed (Debian: apt install nodejs npm)")
    copy = place / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    ran = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)  # noqa: S603 - our own lock
    if ran.returncode:
        pytest.skip(f"npm reaches no registry: {ran.stderr.strip().splitlines()[-1]}")
    return copy


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AsyncAPI's own."""
    return installed(PARSER, tmp_path_factory.mktemp("parser"))


def judged(parser: Path, told: dict[str, Any], tmp_path: Path) -> tuple[int, str]:
    """What the parser says."""
    (tmp_path / "asyncapi.json").write_bytes(orjson.dumps(told))
    command = ["node", "check.mjs", str(tmp_path / "asyncapi.json")]
    ran = subprocess.run(command, cwd=parser, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    return ran.returncode, ran.stdout


def test_asyncapis_own_parser_takes_it(parser: Path, tmp_path: Path) -> None:
    """And refuses what is wrong."""
    assert judged(parser, document(), tmp_path) == (0, f"valid: {len(ENTITIES) + 1} operations\n")
    wrong = document()
    del wrong["channels"]["vm"]
    status, said = judged(parser, wrong, tmp_path)
    assert status == 1
    assert "channels" in said


def test_every_schema_is_in_it() -> None:
    """And in the client, as a class."""
    entities = {path.name.removesuffix(".json") for path in files("receiver").joinpath("events/schemas").iterdir()}
    assert set(ENTITIES) == entities == set(KINDS)


def test_the_copy_is_fresh() -> None:
    """Else: `make docs`, which refuses what breaks consumers."""
    assert COPY.read_bytes() == written()


def test_additions_are_compatible() -> None:
    """Fields, inner fields, words of a set, entities."""
    after = deepcopy(document())
    schemas = after["components"]["schemas"]
    schemas["vm"]["properties"]["novel"] = {"type": "string"}
    schemas["vm"]["properties"]["item"]["properties"]["novel"] = {"type": "string"}
    schemas["vm"]["properties"]["to_state"]["enum"].append("FROZEN")
    schemas["cluster"] = schemas["vm"]
    after["channels"]["cluster"] = after["channels"]["vm"]
    assert breaks(document(), after) == []


def _remove(schemas: dict[str, Any]) -> None:
    del schemas["vm"]["properties"]["reason"]


def _remove_inside(schemas: dict[str, Any]) -> None:
    del schemas["vm"]["properties"]["item"]["properties"]["host_name"]


def _change_type(schemas: dict[str, Any]) -> None:
    schemas["deployment"]["properties"]["item"]["properties"]["incarnation"]["type"] = "string"


def _promise_less(schemas: dict[str, Any]) -> None:
    schemas["operation"]["properties"]["item"]["required"].remove("state")


def _drop_header(schemas: dict[str, Any]) -> None:
    del schemas["headers"]["properties"]["ce-id"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_remove, "vm.reason is gone"),
        (_remove_inside, "vm.item.host_name is gone"),
        (_change_type, "deployment.item.incarnation has another type"),
        (_promise_less, "operation.item: state is not promised any more"),
        (_drop_header, "headers.ce-id is gone"),
    ],
)
def test_what_breaks_consumers_is_refused(change: Any, found: str) -> None:
    """Until the major version says so."""
    after = deepcopy(document())
    change(after["components"]["schemas"])
    assert breaks(document(), after) == [found]
    after["info"]["version"] = "2.0.0"
    assert refused(document(), after) == []


def test_another_subject_is_another_contract() -> None:
    """Whoever subscribed would hear nothing any more."""
    after = deepcopy(document())
    after["channels"]["vm"]["address"] = "esc.v1.vm.{source}.{change}"
    assert breaks(document(), after) == ["subject esc.v1.vm.{change}.{source}.{tenant}.{deployment}.{vm} is gone"]


def some_of_each() -> list[OutboxRow]:
    """One message of each kind, with text that headers do not take."""
    return [
        feed.event(feed.vm("a b\u00e9")),
        feed.event(feed.deployment()),
        feed.event(feed.operation()),
        feed.event(feed.resource()),
        feed.event(feed.source()),
        unclassified_event(notification(), "an unknown root", "unknown-root"),
        malformed_event(letter(MALFORMED[0], source="lab1").envelope, "it is cut off", "malformed"),
    ]


@pytest.mark.parametrize("row", some_of_each(), ids=lambda row: row.subject.split(".")[2])
def test_messages_are_as_the_document_says(row: OutboxRow) -> None:
    """Subject, headers and payload."""
    told, entity = document(), row.subject.split(".")[2]
    channel = "malformed" if ".malformed." in row.subject else entity
    address = told["channels"][channel]["address"].split(".")
    tokens = row.subject.split(".")
    assert len(tokens) == len(address)
    assert all(written == token or written.startswith("{") for written, token in zip(address, tokens, strict=True))
    schemas, headers = told["components"]["schemas"], orjson.loads(row.headers)
    jsonschema.Draft202012Validator(schemas["headers"]).validate(headers)
    assert set(headers) <= set(schemas["headers"]["properties"])
    jsonschema.Draft202012Validator(schemas[entity]).validate(orjson.loads(row.payload))


@pytest.mark.parametrize("row", some_of_each(), ids=lambda row: row.subject.split(".")[2])
def test_cloudevents_own_sdk_reads_them(row: OutboxRow) -> None:
    """As an HTTP message in binary mode, whose headers NATS's are like."""
    headers = orjson.loads(row.headers)
    event = from_http_event(HTTPMessage(headers, row.payload.encode()))
    assert (event.get_id(), event.get_type()) == (str(row.id), headers["ce-type"])
    assert event.get_source() == "/esc/lab1"
    assert event.get_time() == row.at
    assert event.get_extension("partitionkey").startswith("lab1/")
    assert event.get_data() == orjson.loads(row.payload)
    if row.subject.startswith("esc.v1.vm."):
        assert event.get_subject() == "vm/dep-1/a b\u00e9"


async def test_a_consumer_in_javascript(nats_url: str, tmp_path: Path) -> None:
    """The example sees what ours sees, acknowledges it, and ends on SIGTERM."""
    program = installed(JAVASCRIPT, tmp_path)
    await publish(nats_url, [*feed.vm_events(3), feed.event(feed.deployment())])
    async with EscFeed(nats_url) as esc_feed:
        events = await take(esc_feed.subscribe(subjects=["esc.v1.vm.>"]), 3)
    process = await asyncio.create_subprocess_exec(
        "node", "consumer.mjs", cwd=program, stdout=asyncio.subprocess.PIPE, env={"NATS_URL": nats_url, "PATH": _path()}
    )
    assert process.stdout
    lines = [(await process.stdout.readline()).decode().strip() for _ in events]
    assert lines == [f"{event.id} {event.type} {event.subject}" for event in events]
    await feed.until(lambda: is_acknowledged(nats_url, "javascript", 3))
    process.terminate()
    assert await process.wait() == 0


async def test_they_are_served(postgres_dsn: str) -> None:
    """To programs and to people."""
    async with running_api(postgres_dsn) as api:
        assert (await api.get("/asyncapi.json")).body == document()
        for entity in ENTITIES:
            assert (await api.get(f"/schemas/{entity}.json")).body == schema_of(entity)
        async with api.client.get(f"{api.url}/api/docs") as answer:
            page = await answer.text()
    for entity in ENTITIES:
        assert f'id="feed-{entity}"' in page
    assert "esc.v1.vm.{change}.{source}.{tenant}.{deployment}.{vm}" in page
    assert "Id of the ledger entry" in page


def _path() -> str:
    node = shutil.which("node")
    assert node
    return str(Path(node).parent)
