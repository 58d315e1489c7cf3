"""Lists on the command line: what they hold, in which form they are printed, and what they say when they are empty."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import orjson
import pytest

from tests.cli.test_cli_reading import ask
from tests.support.batches import letter, of_deployment
from tests.support.browser import named
from tests.support.query_api import DEPLOYED, RunningApi, deploy, running_api, store
from tests.support.samples import MALFORMED


@pytest.fixture
async def api(postgres_dsn: str) -> AsyncIterator[RunningApi]:
    """One deployment that is up, one that is gone, and a callback that nobody can read."""
    await store(postgres_dsn, [*deploy("dep-a"), *deploy("dep-b"), letter(MALFORMED[0])])
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("UPDATE vms SET state = 'UNDEPLOYED', ended_at = now() WHERE deployment = 'dep-b'")
    await connection.execute("UPDATE deployments SET state = 'UNDEPLOYED', ended_at = now(), changed_at = now() "
                             "WHERE internal_deployment_id = 'dep-b'")  # fmt: skip
    await connection.close()
    async with running_api(postgres_dsn) as api:
        yield api


@pytest.mark.parametrize("command", ["vms", "deployments"])
async def test_what_is_gone_is_shown_when_it_is_asked_for(api: RunningApi, command: str) -> None:
    """A list begins with what is there; --gone, or the state itself, adds the rest."""
    for arguments, expected in (([], 1), (["--gone"], 2), (["--state", "UNDEPLOYED"], 1)):
        status, lines, _ = await ask(api.url, command, "-o", "name", *arguments)
        assert (status, len(lines)) == (0, expected), arguments


async def test_each_form_of_a_list(api: RunningApi) -> None:
    """Names alone, CSV that a spreadsheet can read, JSON an item a line, and a table."""
    (vm,) = (await api.get("/vms", deployment="dep-a")).items
    assert (await ask(api.url, "vms", "-o", "name"))[1] == [vm["vm_name"]]
    headings, row = csv.reader((await ask(api.url, "vms", "-o", "csv"))[1])
    told = dict(zip(headings, row, strict=True))
    assert (told["state"], told["vm"], told["deployment"]) == ("ALIVE", vm["vm_name"], "dep-a")
    assert [orjson.loads(line) for line in (await ask(api.url, "vms", "-o", "json"))[1]] == [vm]
    for form in ("table", "wide"):
        _, (heading, shown), _ = await ask(api.url, "vms", "-o", form)
        assert heading.split()[0] == "STATE"
        assert vm["vm_name"] in shown, "what goes into a pipe is whole"


async def test_what_a_sender_wrote_is_no_formula_of_a_spreadsheet(api: RunningApi, postgres_dsn: str) -> None:
    """A name that begins like one is quoted."""
    await store(postgres_dsn, [letter(one) for one in named([of_deployment(DEPLOYED, "dep-x")], "=1+1")])
    _, lines, _ = await ask(api.url, "vms", "--deployment", "dep-x", "-o", "csv")
    assert "'=1+1" in list(csv.reader(lines))[1]


async def test_an_empty_list_says_what_was_asked(api: RunningApi) -> None:
    """Not only that there is nothing."""
    status, lines, told = await ask(api.url, "vms", "--state", "ERROR", "--source", "lab9", "--search", "fw")
    assert (status, lines) == (0, [])
    assert told == ["no vms match state=ERROR source=lab9 search=fw"]
    assert (await ask(api.url, "resources"))[2] == ["there are no resources yet"]


@pytest.mark.parametrize(("since", "expected"), [("1h", 1), ("2d", 1), ("2000-01-01T00:00:00Z", 1), ("0s", 0)])
async def test_since_takes_how_long_ago(api: RunningApi, since: str, expected: int) -> None:
    """Or a time of the API."""
    assert len((await ask(api.url, "deployments", "-o", "name", "--since", since))[1]) == expected


async def test_a_time_that_is_none_is_named(api: RunningApi) -> None:
    """In one line; so is one before all times."""
    for since in ("yesterday", "999999999d"):
        status, _, (line,) = await ask(api.url, "vms", "--since", since)
        assert (status, "since" in line) == (2, True)


async def test_dead_letters_and_their_bytes(api: RunningApi) -> None:
    """Listed with the reason, shown one by one, and their bytes as they came."""
    _, (heading, line), _ = await ask(api.url, "callbacks", "--dead")
    assert heading.split()[:2] == ["RECEIVED", "OUTCOME"]
    assert "malformed" in line
    _, (receipt,), _ = await ask(api.url, "callbacks", "--dead", "-o", "name")
    _, (shown,), _ = await ask(api.url, "callbacks", receipt)
    assert orjson.loads(shown)["receipt"] == receipt
    status, lines, _ = await ask(api.url, "callbacks", receipt, "--raw")
    assert status == 0
    assert "\n".join(lines).strip() == MALFORMED[0].body.decode().strip()
    assert (await ask(api.url, "callbacks", "--raw"))[0] == 2
    assert len((await ask(api.url, "callbacks", "-o", "name"))[1]) == 7


async def test_the_ledger(api: RunningApi) -> None:
    """Every change, the newest first, as the API has it."""
    (vm,) = (await api.get("/vms", deployment="dep-a")).items
    _, lines, _ = await ask(api.url, "ledger", "--entity", "vm", "--deployment", "dep-a", "-o", "json")
    entries = [orjson.loads(line) for line in lines]
    assert [entry["to_state"] for entry in entries] == ["ALIVE", "INERT"]
    assert {entry["name"] for entry in entries} == {vm["vm_name"]}


async def test_sources(api: RunningApi) -> None:
    """Each ESC, whether it says anything of itself."""
    _, (heading, line), _ = await ask(api.url, "sources")
    assert heading.split()[:2] == ["STATE", "SOURCE"]
    assert line.split()[:2] == ["UNSEEN", "default"]


async def test_a_vm_is_explained_by_the_beginning_of_its_name_or_its_uuid(api: RunningApi) -> None:
    """As long as only one can be meant; else the names are told."""
    (vm,) = (await api.get("/vms", deployment="dep-a")).items
    for given in ([vm["vm_name"][:12]], [vm["vm_uuid"], "--deployment", "dep-a"]):
        status, lines, _ = await ask(api.url, "explain", *given)
        assert (status, lines[0]) == (0, f"{vm['vm_name']} of dep-a is ALIVE"), given
    status, _, (told,) = await ask(api.url, "explain", "dep-")
    assert (status, "several VMs are called so" in told, vm["vm_name"] in told) == (2, True, True)
    assert (await ask(api.url, "explain", "nobody"))[0] == 2


def environment(**changed: str) -> dict[str, str]:
    """Of a receiver whose settings hold secrets."""
    return {
        "ESC_RECEIVER_POSTGRES_DSN": "postgresql://esc:hunter2@db/esc",
        "ESC_RECEIVER_SOURCES": '{"lab1": {"tokens": ["hunter2hunter2hunter2"], "allow": ["10.0.0.0/8"]}}',
        **changed,
    }


async def test_the_settings_that_would_be_run_with() -> None:
    """Each with its origin, secrets hidden."""
    status, lines, _ = await ask("http://127.0.0.1:1", "config", "-o", "json", **environment(ESC_RECEIVER_PORT="9011"))
    told: dict[str, Any] = {item["setting"]: item for item in map(orjson.loads, lines)}
    assert status == 0
    assert told["port"] == {"setting": "port", "value": 9011, "from": "ESC_RECEIVER_PORT"}
    assert told["postgres_dsn"]["value"] == "(secret)"
    assert told["sources"]["value"] == {"lab1": {"tokens": "(1)", "allow": ["10.0.0.0/8"]}}
    assert told["host"]["from"] == "default"
    assert "hunter2" not in "".join(lines)


async def test_settings_that_are_not_valid_are_shown_too() -> None:
    """With what is wrong about them, and exit status 2."""
    wrong = environment(ESC_RECEIVER_PORT="high", ESC_RECEIVER_SOURCES='{"lab1": {"tokens": ["hunter2"]}}')
    status, lines, told = await ask("http://127.0.0.1:1", "config", "--changed", **wrong)
    assert (status, len(lines)) == (2, 4)
    assert any("ESC_RECEIVER_PORT" in line for line in told)
    assert "hunter2" not in "".join([*lines, *told])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion(shell: str) -> None:
    """A script for each shell, which names the program."""
    status, lines, _ = await ask("http://127.0.0.1:1", "completion", shell)
    assert status == 0
    assert any("_ESC_RECEIVER_COMPLETE" in line for line in lines)


async def test_version() -> None:
    """Also for programs."""
    _, (line,), _ = await ask("http://127.0.0.1:1", "version", "--json")
    assert orjson.loads(line)["api"] == "v1"


async def test_dead_letters_are_listed_by_reason_and_acknowledged_with_a_note(
    api: RunningApi, postgres_dsn: str
) -> None:
    """The note and who gave it are kept; what belongs to acknowledging is refused without a note, in one line."""
    (group,) = [orjson.loads(line) for line in (await ask(api.url, "quarantine", "-o", "json"))[1]]
    assert (group["outcome"], group["callbacks"], group["unacknowledged"]) == ("malformed", 1, 1)
    _, (_, shown), _ = await ask(api.url, "quarantine")
    assert group["reason"] in shown
    status, _, said = await ask(api.url, "quarantine", "--by", "anna")
    assert (status, "go with --acknowledge" in " ".join(said)) == (2, True)
    told = ("quarantine", "--outcome", "malformed", "--acknowledge", "ticket 4711", "--by", "anna")
    assert await ask(api.url, *told) == (0, ["1 acknowledged"], [])
    assert (await ask(api.url, *told))[:2] == (0, ["0 acknowledged"])
    (group,) = [orjson.loads(line) for line in (await ask(api.url, "quarantine", "-o", "json"))[1]]
    assert group["unacknowledged"] == 0
    (callback,) = (await api.get("/callbacks", outcome="malformed")).items
    assert (callback["acknowledged_note"], callback["acknowledged_by"]) == ("ticket 4711", "anna")


async def test_lists_and_counts_of_the_past(api: RunningApi) -> None:
    """`--at`: a time or so long ago, for lists, operations and the counts; with a wait it has no meaning."""
    then = ["--at", (await api.get("/stats")).body["at"]]
    for command, columns in (("vms", ["HOST", "NOTES"]), ("deployments", ["NOTES"]), ("operations", ["TOOK"])):
        status, (heading, *rows), _ = await ask(api.url, command, *then)
        assert (status, len(rows)) == (0, 2 if command == "operations" else 1), command
        assert all(column in heading for column in columns)
        assert (await ask(api.url, command, "-o", "name", "--at", "0s"))[0] == 0
    _, lines, _ = await ask(api.url, "status", *then)
    assert any("operations" in line and "SUCCEEDED 2" in line for line in lines), lines
    _, (line,), _ = await ask(api.url, "status", "--json", *then)
    assert orjson.loads(line)["operations"] == {"SUCCEEDED": 2}
    assert (await ask(api.url, "operations", "--wait", "x", *then))[0] == 2
