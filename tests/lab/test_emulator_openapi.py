"""The table, the routes, the OpenAPI document and the coverage table of the docs are one."""

from __future__ import annotations

import asyncio
import re
import sys
from inspect import getmembers, isfunction, signature
from pathlib import Path

import jsonschema
import pytest

from esc_lab.emulator import northbound_openapi as openapi
from esc_lab.emulator.endpoint_model import UNPUBLISHED, Need, evidence_of
from esc_lab.emulator.endpoint_tables import ROWS
from esc_lab.emulator.handlers import configuration, deployments, resources, system, vms
from esc_lab.emulator.models import MODELS, Evidence
from receiver.parsing.vocabulary import TRIGGERS
from tests.support.emulator import deployed, orchestrating

NOW = openapi.document()
OPERATIONS_OF_THE_DOCUMENT = {
    "01": 5, "02": 5, "03": 5, "04": 4, "05": 4, "06": 6, "07": 1, "08": 5, "09": 5, "10": 4, "11": 2, "12": 3,
    "13": 8, "14": 5, "15": 2, "16": 5, "17": 10, "18": 8, "19": 3, "SSL": 1, "Authentication": 3,
}  # fmt: skip
"""How many each chapter prints; `setpassword` is printed without a method, and taken with three."""


def test_every_operation_of_every_chapter_is_there() -> None:
    """Once each, and its handler too."""
    found: dict[str, int] = {}
    for row in ROWS:
        chapter = row.chapter.split()[0]
        found[chapter] = found.get(chapter, 0) + 1
    assert found == OPERATIONS_OF_THE_DOCUMENT
    assert len({row.name for row in ROWS}) == len({(row.method, row.path) for row in ROWS}) == len(ROWS)
    rooms = (configuration, deployments, resources, system, vms)
    functions = [
        function
        for room in rooms
        for name, function in getmembers(room, isfunction)
        if function.__module__ == room.__name__ and not name.startswith("_")
    ]
    handlers = {function for function in functions if list(signature(function).parameters) == ["esc", "call"]}
    assert {row.does for row in ROWS} == handlers


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_whole(row: object) -> None:
    """It answers, its models are known, its messages have names, and it is no better proven than those."""
    assert isinstance(row, type(ROWS[0]))
    assert row.answers
    assert {row.body, row.answer} <= {*MODELS, "text", ""}
    for says in row.sends:
        assert says in TRIGGERS | UNPUBLISHED
    if row.sends and row.evidence is Evidence.VERIFIED:
        assert all(evidence_of(says) is Evidence.VERIFIED for says in row.sends)
    assert bool(row.sends) == (row.callback is not Need.NONE or row.events is not Need.NONE)


async def test_the_served_document_lists_what_is_served() -> None:
    """Under both base paths; a path it knows in a method it does not know is 405, and says which it takes."""
    async with orchestrating() as client:
        served = await client.look("/emulator/openapi.json")
        assert served == NOW
        assert NOW["servers"] == [{"url": "/ESCManager"}, {"url": "/ESCManger"}]
        for row in ROWS:
            path = re.sub("{[^}]*}", "x", row.path)
            answer = await client.ask("PATCH", path)
            assert (answer.status, row.method in answer.headers["Allow"]) == (405, True), path


async def test_answers_fit_their_schemas() -> None:
    """Of every operation that reads."""
    known = {"internal_tenant_id": "acme", "internal_deployment_id": "dep-1", "category": "LOG", "key": "LEVEL"}
    known |= {
        "internalTenantId": "acme",
        "hostName": "my-ucs-1",
        "name": "confd",
        "action_name": "log",
        "metric_name": "ICMPPing",
    }
    async with orchestrating() as client:
        await deployed(client)
        for row in ROWS:
            if row.method != "GET" or row.does is system.set_password:
                continue
            path = re.sub("{([^}]*)}", lambda found: known.get(found[1], "none"), row.path)
            answer = await client.ask("GET", path, Accept="application/json")
            schema = NOW["paths"][row.path]["get"]["responses"][str(answer.status)].get("content", {})
            if answer.status == 200 and schema and row.name != "get_deployment_config":
                schema = {**schema["application/json"]["schema"], "components": NOW["components"]}
                jsonschema.Draft202012Validator(schema).validate(await client.look(path))


async def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    """Requests made up from the document, right and wrong ones, are all answered as it says.

    Not checked: that what fits the schema is accepted. ESC's own tables answer 400 where something is missing.
    """
    async with orchestrating() as client:
        await deployed(client)
        url = client.emulator.url
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            "run", f"{url}/emulator/openapi.json", "--url", f"{url}/ESCManager", "--max-examples", "2",
            "--exclude-checks", "positive_data_acceptance",
            "--phases", "coverage,fuzzing", "--seed", "1", "--no-color",
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
