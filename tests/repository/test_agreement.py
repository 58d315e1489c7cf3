"""Things that must agree: pages and code, enumerations and constraints, schemas and words, package and repository."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

import asyncpg
import click
import orjson
import pytest
from click.testing import CliRunner

from esc_receiver_client import EscFeed
from receiver.cli.main import main
from receiver.config.loading import CONFIG
from receiver.config.settings import PREFIX, Settings
from receiver.config.sources import Source
from receiver.errors import ReceiverError
from receiver.events.subjects import SUBJECTS
from receiver.http.server import _ANSWERS
from receiver.lifecycle import operation_tables, stage_rules
from receiver.lifecycle.resource import VERBS
from receiver.model.entities import (
    DeploymentState,
    Entity,
    EntityKind,
    OperationState,
    ResourceState,
    SourceState,
    VmState,
)
from receiver.model.notification import Channel, Family, Outcome
from receiver.parsing.vocabulary import TRIGGERS
from tests.support import feed
from tests.support.commands import commands
from tools.docs.__main__ import stale
from tools.docs.parts import PARTS

ROOT = Path(__file__).parents[2]
STORAGE = (ROOT / "docs" / "storage.md").read_text("utf-8")
PAGES = ["README.md", "CHANGELOG.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
TEXTS = {name: (ROOT / name).read_text("utf-8") for name in PAGES}
CODE = sorted((ROOT / "receiver").rglob("*.py"))
METRICS = "esc_receiver"
LINES_MAX = 350
LONGER: dict[str, str] = {}
"""Files that may be longer, and why."""
MOVE_NOTHING = {
    ("VM_SCALE_OUT_INIT", False): "names a VM of the group that is scaled, which keeps its state",
    ("VM_SCALE_OUT_INIT", True): "likewise",
}
STATES: dict[EntityKind, type[StrEnum]] = {
    EntityKind.DEPLOYMENT: DeploymentState,
    EntityKind.VM: VmState,
    EntityKind.RESOURCE: ResourceState,
    EntityKind.OPERATION: OperationState,
    EntityKind.SOURCE: SourceState,
}


# Pages and code.


def test_what_is_generated_in_the_pages_is_fresh() -> None:
    """Settings, commands, tables, diagrams and examples are as the code is; else: `make docs`."""
    assert [str(path.relative_to(ROOT)) for path in stale()] == []


def test_every_setting_named_in_the_pages_exists() -> None:
    """By the name of its environment variable, or of its `…_FILE` twin."""
    known = {f"{PREFIX}{name.upper()}{end}" for name in Settings.model_fields for end in ("", "_FILE")} | {CONFIG}
    named = {name for text in TEXTS.values() for name in re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", text)}
    assert named - known == set()


def test_every_setting_is_in_its_page_once_with_its_meaning() -> None:
    """Name, default and description, as the settings have them."""
    page = TEXTS["docs/settings.md"]
    for name, field in Settings.model_fields.items():
        assert page.count(f"\n| `{PREFIX}{name.upper()}`") == 1
        assert field.description
        assert f" {field.description} |" in page


def test_every_limit_named_in_the_pages_is_a_setting() -> None:
    """What stands in backticks and ends like a setting is one, or one of a source or of the consumers' kit."""
    named = {name for text in TEXTS.values() for name in re.findall(r"`([a-z_]+_(?:max|s|days|after_s))`", text)}
    of_the_kit = set(inspect.signature(EscFeed.subscribe).parameters)
    assert named - set(Settings.model_fields) - set(Source.model_fields) - of_the_kit == set()


def test_every_setting_is_read_somewhere() -> None:
    """None is left over from a former way of doing things."""
    text = "\n".join(path.read_text("utf-8") for path in CODE)
    unread = {name for name in Settings.model_fields if not re.search(rf"\.{name}\b", text)}
    assert not unread


def commands_in(text: str) -> Iterable[list[str]]:
    """The lines of a page that call esc-receiver, in blocks and in the running text."""
    spans = re.findall(r"(?m)^ {4}((?:[A-Z_]+=\S+ )*esc-receiver .*)$|`(esc-receiver [^`]+)`", text)
    for block, inline in spans:
        command = re.split(r" [|#] ", (block or inline))[0]
        words = [word for word in shlex.split(command, comments=True) if "=" not in word or word.startswith("-")]
        yield words[1:]


@pytest.mark.parametrize("words", [words for text in TEXTS.values() for words in commands_in(text)], ids=" ".join)
def test_every_command_in_the_pages_can_be_called_so(words: list[str]) -> None:
    """The command exists and takes these options (none is run)."""
    command = commands()[words[0]]
    # Below its group, as it is run: a command keeps the names of its help option from the first time it is asked.
    group = click.Context(main, **main.context_settings)
    with click.Context(command, info_name=words[0], parent=group) as context:
        command.make_parser(context).parse_args(words[1:])


@pytest.mark.parametrize("name", sorted(commands()))
def test_help_explains_every_command_and_all_its_options(name: str) -> None:
    """A sentence for the command and one for each option, and at least one example."""
    command = commands()[name]
    assert command.help
    unexplained = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert unexplained == []
    said = CliRunner().invoke(main, [name, "--help"])
    assert said.exit_code == 0
    assert "Examples:" in said.output


def test_the_make_targets_in_the_pages_exist() -> None:
    """As `make help` lists them."""
    targets = set(re.findall(r"(?m)^([a-z]+):.* ## ", (ROOT / "Makefile").read_text("utf-8")))
    named = {name for text in TEXTS.values() for name in re.findall(r"(?:`|    )make ([a-z]+)", text)}
    assert named <= targets
    assert {"demo", "test"} <= named


def test_the_files_that_the_pages_name_exist() -> None:
    """Paths in backticks, also where a test follows (`tests/…py::test_…`); links are looked at in test_citations."""
    pages = [ROOT / name for name in ("README.md", "CHANGELOG.md")] + sorted((ROOT / "docs").rglob("*.md"))
    rooms = "receiver|client|esc_lab|tests|tools|docs|chaos|benchmarks|dashboards|packaging|requirements"
    named = {
        found
        for page in pages
        for found in re.findall(rf"`((?:{rooms})/[\w/.-]+)(?:::(\w+))?`", page.read_text("utf-8"))
    }
    assert len(named) > 20
    assert [path for path, _ in named if not (ROOT / path).exists()] == []
    tests = [(path, test) for path, test in named if test]
    assert [test for path, test in tests if f"def {test}(" not in (ROOT / path).read_text("utf-8")] == []


def test_the_status_table_has_every_answer() -> None:
    """Each status that an error of ours is answered with, and each outcome."""
    table = (ROOT / "docs" / "ingress.md").read_text("utf-8")
    listed = {status for row in re.findall(r"(?m)^\| ([\d, ]+) \|", table) for status in re.findall(r"\d{3}", row)}
    assert {str(answer.status) for answer in _ANSWERS.values()} <= listed
    assert {outcome for outcome in Outcome if f"| `{outcome}` |" not in table} == set()


@pytest.mark.parametrize("page", ["README.md", "docs/feed.md"])
def test_the_pages_show_the_subjects_of_the_feed(page: str) -> None:
    """Each entity's, token by token; and none under another prefix."""
    shown = re.findall(rf"(?m)^ {{4}}({SUBJECTS}\.\S.*)$", TEXTS[page])
    lengths = {subject.split(".")[2]: subject.count(".") for subject in shown if "<" in subject}
    entities: list[Entity] = [feed.vm(), feed.deployment(), feed.operation(), feed.resource(), feed.source()]
    made = {row.subject.split(".")[2]: row.subject.count(".") for row in map(feed.event, entities)}
    assert lengths == made | {"callback": f"{SUBJECTS}.callback.unclassified.lab1".count(".")}
    assert set(re.findall(r"\besc\.v\d+", TEXTS[page])) == {SUBJECTS}


async def test_the_sql_in_the_pages_runs(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Against the migrated schema."""
    blocks = re.findall(r"```sql\n(.*?)```", STORAGE, re.DOTALL)
    assert len(blocks) >= 2
    for sql in blocks:
        await connection.fetch(sql)


async def test_every_table_is_in_the_page_on_storage(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Also those that are the program's own."""
    rows = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = 'public'::regnamespace"
    )
    assert {row["relname"] for row in rows if f"`{row['relname']}`" not in STORAGE} == set()


# The lifecycle.


def test_every_message_has_its_row() -> None:
    """Each trigger, well or badly, moves something, ends an operation, or is known to move nothing."""
    verbs = tuple(f"{verb}_" for verb in VERBS)
    cases = {(trigger, failed) for trigger in TRIGGERS for failed in (False, True) if not trigger.startswith(verbs)}
    moving = {*stage_rules.VM, *stage_rules.DEPLOYMENT, *stage_rules.SOURCE, *operation_tables.CLOSERS}
    assert cases - moving == set(MOVE_NOTHING)


def test_every_row_is_for_a_message_that_can_be_read() -> None:
    """No table speaks of a trigger that the parser never gives."""
    named = {trigger for trigger, _ in (*stage_rules.VM, *stage_rules.DEPLOYMENT, *operation_tables.CLOSERS)} | set(
        operation_tables.KINDS
    )
    assert named - TRIGGERS == set()


def test_every_message_that_moves_a_vm_is_drawn() -> None:
    """But the steps within a recovery, which leave it RECOVERING."""
    moving = {trigger for (trigger, failed), row in stage_rules.VM.items() if row.to and not failed}
    within = {"VM_RECOVERY_REBOOT", "VM_RECOVERY_UNDEPLOYED", "VM_RECOVERY_DEPLOYED"}
    diagram = PARTS["vm-diagram"]()
    assert {trigger for trigger in moving if trigger not in diagram} == within


def test_every_rule_is_in_the_lifecycle_page() -> None:
    """Also those that are in no table: an operator looks a rule up there."""
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "receiver" / "lifecycle").glob("*.py"))
    written = set(re.findall(r'(?:RuleResult|Decision\(Outcome\.\w+,)\(?\s*"([a-z-]+)"', text))
    tables = (stage_rules.VM, stage_rules.DEPLOYMENT, stage_rules.SOURCE)
    written |= {row.rule for table in tables for row in table.values()}
    written |= {f"operation-{state.lower()}" for state in OperationState if state not in ("UNSEEN", "OPEN")}
    assert {rule for rule in written if f"`{rule}`" not in TEXTS["docs/lifecycle.md"]} == set()


def test_the_glossary_names_what_there_is() -> None:
    """Metrics by their end, fields of the API, classes."""
    text = TEXTS["docs/glossary.md"]
    metrics = TEXTS["docs/metrics.md"]
    assert [m for m in re.findall(r"`…_([a-z_]+)`", text) if f"`{METRICS}_{m}`" not in metrics] == []
    code = "\n".join(path.read_text("utf-8") for path in CODE)
    words = re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*)`", text.partition("## Words of the code")[2])
    assert len(words) > 8
    assert [word for word in words if not re.search(rf"(?m)^class {word}\b", code)] == []


def test_the_readme_can_be_read_in_ten_minutes() -> None:
    """What takes longer has a page of its own."""
    assert len(TEXTS["README.md"].splitlines()) <= 200


# Words.

CHECKS = {
    "callbacks_channel_known": Channel,
    "callbacks_family_known": Family,
    "callbacks_outcome_known": Outcome,
    "operations_state_known": OperationState,
    "deployments_state_known": DeploymentState,
    "vms_state_known": VmState,
    "resources_state_known": ResourceState,
    "sources_state_known": SourceState,
    "transitions_entity_known": EntityKind,
}


async def test_enumerations_are_the_constraints_of_the_schema(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Each CHECK allows just the words that the program knows."""
    rows = await connection.fetch(
        "SELECT DISTINCT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint"
        " WHERE conname LIKE '%\\_known'"
    )
    allowed = {row["conname"]: set(re.findall(r"'([^']+)'::text", row["definition"])) for row in rows}
    assert allowed == {name: {str(word) for word in words} for name, words in CHECKS.items()}


@pytest.mark.parametrize("entity", EntityKind)
def test_schemas_allow_the_states_that_there_are(entity: EntityKind) -> None:
    """In the ledger entry and in the item, and in the order of the enumeration."""
    schema = orjson.loads(files("receiver").joinpath("events", "schemas", f"{entity}.json").read_bytes())
    states = [str(state) for state in STATES[entity]]
    fields = schema["properties"]
    assert fields["from_state"]["enum"] == fields["to_state"]["enum"] == states
    assert fields["item"]["properties"]["state"]["enum"] == states
    assert fields["entity"]["const"] == entity


# The code itself.


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is_for_and_is_short(path: Path) -> None:
    """It opens with a docstring, and can be read in one sitting."""
    text = path.read_text("utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= LINES_MAX or str(path.relative_to(ROOT / "receiver")) in LONGER


def test_every_error_of_ours_is_explained() -> None:
    """The docstring of an error is what it means."""
    kinds = [ReceiverError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert [kind.__name__ for kind in kinds if not kind.__doc__] == []


def test_the_wheel_holds_all_that_is_needed_at_run_time(tmp_path: Path) -> None:
    """Migrations, SQL, schemas and the marker of types; no tests."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # noqa: S603  # our own build
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    needed = {f"receiver/migrations/{path.name}" for path in (ROOT / "migrations").glob("*.sql")}
    inside = [path for path in (ROOT / "receiver").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    needed |= {str(path.relative_to(ROOT)) for path in inside}
    assert needed - packed == set()
    assert not [name for name in packed if name.startswith(("tests", "docs"))]
