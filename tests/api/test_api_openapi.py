"""The document is true: what it lists is what is served, its examples fit, and clients of v1 keep working."""

from __future__ import annotations

import asyncio
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from receiver.api.api_document import document
from receiver.api.asyncapi import ENTITIES
from receiver.api.docs_page import page
from receiver.api.endpoints import catalogue
from receiver.api.routes import Api
from receiver.config.settings import Settings
from receiver.observability.metrics import Metrics
from tests.support.batches import letter
from tests.support.program import CHECKOUT
from tests.support.query_api import READ, deploy, running_api, store
from tests.support.samples import MALFORMED, SAMPLES
from tools.docs.openapi import COPY, breaks, refused, renew, written

SETTINGS = Settings(postgres_dsn="postgresql://nobody@127.0.0.1/none")
NOW: dict[str, Any] = document(catalogue(SETTINGS), is_open=True)
METHODS = {"get", "post", "delete"}


def resolved(schema: Any) -> Any:
    """For the validator, which knows nothing of the document around a schema."""
    return {**schema, "components": NOW["components"]} if isinstance(schema, dict) else schema


def test_routes_and_document_agree() -> None:
    """Every route is in the document, and everything in the document is a route."""

    async def nowhere() -> Any:
        raise OSError

    api = Api(nowhere, SETTINGS, Metrics())
    routes = {(route.method.lower(), route.path.replace(":[^/]+}", "}")) for route in api.routes()}
    told = {(method, path) for path, methods in NOW["paths"].items() for method in methods}
    of_the_feed = {"/api/v1/asyncapi.json", *(f"/api/v1/schemas/{entity}.json" for entity in ENTITIES)}
    documents = {"/api/v1/openapi.json", "/api/docs", *of_the_feed}
    assert routes - told == {("get", path) for path in documents}
    assert told <= routes


def test_parameters_of_the_path_are_in_the_path() -> None:
    """And no others are said to be."""
    for path, methods in NOW["paths"].items():
        for operation in methods.values():
            named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}


@pytest.mark.parametrize("endpoint", catalogue(SETTINGS), ids=lambda endpoint: endpoint.name)
def test_every_example_fits_its_schema(endpoint: Any) -> None:
    """Of the answer and of each parameter; a parameter's reader takes its example."""
    if endpoint.media_type == "application/json" and endpoint.example is not None:
        validator = jsonschema.Draft202012Validator(
            resolved(endpoint.answer), format_checker=jsonschema.FormatChecker()
        )
        validator.validate(endpoint.example)
    assert endpoint.example is not None or endpoint.status == 204
    for parameter in endpoint.parameters:
        jsonschema.validate(parameter.example, parameter.type.schema)
        parameter.type.read(orjson.dumps(parameter.example).decode().strip('"'))


async def test_answers_fit_their_schemas(postgres_dsn: str) -> None:
    """What is served is what the document says, for every endpoint that answers JSON."""
    letters = [*deploy("dep-a"), letter(MALFORMED[0]), letter(SAMPLES["seed-01-tenant-create"])]
    await store(postgres_dsn, letters)
    async with running_api(postgres_dsn) as api:
        vm = (await api.get("/vms")).items[0]
        operation = (await api.get("/operations", kind="deploy")).items[0]
        known = {
            "source": "default", "vm_name": vm["vm_name"], "deployment": vm["deployment"],
            "transaction_id": operation["transaction_id"], "receipt": str(letters[0].envelope.receipt),
        }  # fmt: skip
        for endpoint in catalogue(SETTINGS):
            if endpoint.method != "GET" or endpoint.media_type != "application/json":
                continue
            asked = {one.name: one.example for one in endpoint.parameters if one.required}
            answer = await api.get(endpoint.path.format(**known), **asked)
            assert answer.status == 200, endpoint.path
            jsonschema.Draft202012Validator(resolved(endpoint.answer)).validate(answer.body)


async def test_the_document_says_whether_a_token_is_asked_for(postgres_dsn: str) -> None:
    """It is itself open to all."""
    async with running_api(postgres_dsn) as open_, running_api(postgres_dsn, read_tokens=(READ,)) as closed:
        assert (await open_.get("/openapi.json")).body["paths"]["/api/v1/vms"]["get"]["security"] == [
            {},
            {"bearer": []},
        ]
        assert (await closed.get("/openapi.json")).body["paths"]["/api/v1/vms"]["get"]["security"] == [{"bearer": []}]


class Links(HTMLParser):
    """Whatever a page would fetch, and its ids."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect."""
        self.tags.append(tag)
        for name, value in attrs:
            if name == "src" or (tag == "link" and name == "href"):
                self.fetched.append(value or "")
            if name == "id":
                self.ids.append(value or "")


async def test_the_page_for_people_needs_nothing_from_outside(postgres_dsn: str) -> None:
    """All endpoints on one page, under a policy that allows its own script and nothing else."""
    async with running_api(postgres_dsn) as api, api.client.get(f"{api.url}/api/docs") as answer:
        page = Links()
        page.feed(await answer.text())
        assert (page.fetched, page.tags.count("script")) == ([], 1)
        assert {endpoint.name for endpoint in catalogue(SETTINGS)} <= set(page.ids)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_texts_are_shown_and_not_their_markdown() -> None:
    """Lists and code as such; what looks like markup in a text is none."""
    document = orjson.loads(orjson.dumps(NOW))
    document["info"]["description"] += "\n\n<b>bold</b>"
    shown = page(document, style="")
    said = re.sub(r"<pre.*?</pre>", "", shown, flags=re.DOTALL)  # examples and schemas are shown as they are
    assert "<li>" in said.partition("<nav")[0]
    assert "<code>next</code>" in said
    assert "`" not in said
    assert "<b>" not in said


def test_clients_of_the_published_version_keep_working() -> None:
    """Compared with docs/openapi.json: nothing is gone, narrower or newly demanded, but with a new major version."""
    published = orjson.loads(COPY.read_bytes())
    assert refused(published, NOW) == []
    assert written() == COPY.read_bytes(), "docs/openapi.json is out of date: make docs"


def test_the_copy_is_not_written_over_a_breaking_change(tmp_path: Path) -> None:
    """`make docs` refuses, so nobody breaks clients unawares; a new major version lets it."""
    promised = orjson.loads(orjson.dumps(NOW))
    promised["components"]["schemas"]["Vm"]["properties"]["colour"] = {"type": "string"}
    copy = tmp_path / "openapi.json"
    copy.write_bytes(orjson.dumps(promised))
    with pytest.raises(SystemExit, match=r"Vm\.colour is gone"):
        renew(copy)
    promised["info"]["version"] = "0.9.0"
    copy.write_bytes(orjson.dumps(promised))
    assert renew(copy)
    assert copy.read_bytes() == written()
    assert not renew(copy)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda d: d["paths"].pop("/api/v1/vms"), "get /api/v1/vms is gone"),
        (lambda d: d["components"]["schemas"]["Vm"]["properties"].pop("state"), "Vm.state is gone"),
        (lambda d: d["components"]["schemas"]["Vm"]["required"].remove("state"), "Vm: state is not promised any more"),
        (lambda d: d["paths"]["/api/v1/vms"]["get"]["parameters"].pop(0), "get /api/v1/vms: source is gone"),
    ],
)
def test_a_breaking_change_is_seen(change: Any, found: str) -> None:
    """The comparison itself can fail."""
    changed = orjson.loads(orjson.dumps(NOW))
    change(changed)
    assert found in breaks(orjson.loads(orjson.dumps(NOW)), changed)


OF_THE_PAST = "[[operations]]\ninclude-operation-id = {!r}\nchecks.positive_data_acceptance.enabled = false\n"
"""Where a well-formed moment may be one that cannot be asked for: yet to come, or forgotten."""


async def test_schemathesis_finds_nothing(postgres_dsn: str, tmp_path: Path) -> None:
    """Questions made up from the document, right and wrong ones, are all answered as it says."""
    await store(postgres_dsn, [*deploy("dep-a"), letter(MALFORMED[0])])
    past = [one.name for one in catalogue(SETTINGS) if "at" in {parameter.name for parameter in one.parameters}]
    (tmp_path / "schemathesis.toml").write_text("".join(map(OF_THE_PAST.format, past)))
    kept = CHECKOUT / ".hypothesis" / "unicode_data"  # seconds to make, and the same for all
    kept.mkdir(parents=True, exist_ok=True)
    (tmp_path / ".hypothesis").mkdir()
    (tmp_path / ".hypothesis" / "unicode_data").symlink_to(kept)
    async with running_api(postgres_dsn, query_rate_per_s=100_000.0, wait_s_max=1) as api:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            "run", f"{api.url}/api/v1/openapi.json", "--url", api.url, "--max-examples", "6",
            "--exclude-operation-id", "feed",  # it does not end
            "--exclude-operation-id", "reconcile",  # only a whole receiver asks ESC
            "--phases", "examples,coverage,fuzzing", "--seed", "1", "--no-color",
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
