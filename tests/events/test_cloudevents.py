"""Any ledger entry becomes a message that can be published, that says what happened, and that follows its schema."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any, get_type_hints
from uuid import UUID

import jsonschema
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from receiver.events.cloudevents import OutboxRow, item, item_json, shortened, transition_event, unclassified_event
from receiver.events.subjects import deployment_key, header_value, token, vm_key
from receiver.model.entities import Deployment, Entity, Operation, Resource, Vm
from receiver.model.notification import Family, Notification, Status
from tests.support import feed

ENTITIES: tuple[Entity, ...] = (feed.vm(), feed.deployment(), feed.operation(), feed.resource(), feed.source())
any_text = st.text(alphabet=st.characters(), max_size=200)  # lone surrogates and control characters too
SUBJECT = re.compile(r"esc\.v1(\.[A-Za-z0-9_=-]+){3,7}")
HEADER_VALUE = re.compile(r"[!-~]*")


def notification(**facts: Any) -> Notification:
    """A callback of an unknown root."""
    common: dict[str, Any] = {
        "receipt": UUID(int=7),
        "source": "lab1",
        "received_at": feed.NOW,
        "family": Family.UNKNOWN,
        "root": "surprise",
        "trigger": None,
        "raw_trigger": None,
        "status": Status.OK,
    }
    return Notification(**common | facts)


def schema(entity: str) -> Any:
    """The published schema of an entity's messages."""
    return orjson.loads(files("receiver").joinpath("events", "schemas", f"{entity}.json").read_bytes())


def validate(row: OutboxRow) -> None:
    """Raises when a row's payload does not follow its schema."""
    payload = orjson.loads(row.payload)
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema(payload["entity"]), format_checker=checker).validate(payload)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("csr-dep_csr-grp_0_deadbeef", "csr-dep_csr-grp_0_deadbeef"),
        ("csr-reg1.2", "csr-reg1=2E2"),
        ("a b", "a=20b"),
        ("ü", "=C3=BC"),
        ("*", "=2A"),
        ("50%=", "50=25=3D"),
        (None, "_"),
        ("", "_"),
        ("x" * 96, "x" * 96),
        ("." * 40, "=2E" * 32 + "==" + "eec2e7703b7ff3ca"),
        ("x" * 97, "x" * 96 + "==" + "19a8f07eeb7f3d0c"),
    ],
)
def test_token_is_spelled_as_the_design_says(text: str | None, expected: str) -> None:
    """Letters, digits, `_` and `-` stay, the rest is percent-encoded with `=`, nothing is `_`, the long is cut."""
    assert token(text) == expected


@given(any_text, any_text)
@example("a.b", "a=2Eb")
@example("\ud800", "\ufffd")
def test_tokens_differ_where_the_ids_differ(one: str, other: str) -> None:
    """No two ids share a token, as long as their tokens are not cut."""
    if one and other and one != other and max(len(token(one)), len(token(other))) <= 96:
        assert token(one) != token(other)


@given(st.text(alphabet=st.characters(), max_size=400))
def test_any_id_makes_a_token_of_limited_length(text: str) -> None:
    """Whatever an id holds, it stays one token, and a short one."""
    assert re.fullmatch(r"[A-Za-z0-9_=-]{1,114}", token(text))


@given(st.text(alphabet=st.characters(), max_size=2_000))
def test_any_text_makes_a_header_value_in_plain_ascii(text: str) -> None:
    """It can neither end its line nor begin another one, and it is limited."""
    value = header_value(text)
    assert HEADER_VALUE.fullmatch(value)
    assert len(value) <= 1_024 + 18


@given(any_text, any_text, any_text.filter(bool), st.sampled_from(ENTITIES))
def test_any_ids_make_a_row_that_can_be_published(one: str, other: str, change: str, entity: Entity) -> None:
    """Subject, headers and KV key are plain ASCII, the payload is JSON that PostgreSQL's UTF-8 takes."""
    match entity:
        case Vm():
            entity = entity._replace(
                vm_name=one, deployment=other, tenant=change, extra={one: [other, {"deep": change}]}
            )
        case Deployment():
            entity = entity._replace(internal_deployment_id=one, tenant=other, deployment_name=change)
        case Operation():
            entity = entity._replace(transaction_id=one, status_message=other)
        case Resource():
            entity = entity._replace(kind=one, resource_id=other, attributes={one: other})
    row = transition_event(feed.transition(entity, change=change, operation=one, ref=other, source=change), entity)
    assert SUBJECT.fullmatch(row.subject)
    assert all(HEADER_VALUE.fullmatch(value) for value in orjson.loads(row.headers).values())
    assert row.kv_key is None or re.fullmatch(r"(vm|deployment)(\.[A-Za-z0-9_=-]+){2,3}", row.kv_key)
    assert "\n" not in row.headers
    row.payload.encode()
    validate(row)


@given(any_text, st.recursive(st.none() | st.booleans() | st.integers() | any_text, st.lists, max_leaves=5))
def test_item_is_cut_out_of_the_payload_as_it_stands(text: str, extra: Any) -> None:
    """The slice for the KV bucket is the payload's `item`, whatever the texts before it look like."""
    entity = feed.vm(extra={"item": extra, text: ',"item":{'})
    row = transition_event(feed.transition(entity, reason=f'{text},"item":', ref=',"item":{}', operation=text), entity)
    assert orjson.loads(item_json(row.payload.encode())) == orjson.loads(row.payload)["item"]


def test_subjects_of_each_entity() -> None:
    """The subjects are those of docs/feed.md#subjects."""
    assert [feed.event(entity).subject for entity in ENTITIES] == [
        "esc.v1.vm.alive.lab1.tenant-1.dep-1.vm-1",
        "esc.v1.deployment.active.lab1.tenant-1.dep-1",
        "esc.v1.operation.open.lab1.t-1",
        "esc.v1.resource.created.lab1.network.net-1",
        "esc.v1.source.out_of_service.lab1",
    ]
    assert unclassified_event(notification(), "why", "rule").subject == "esc.v1.callback.unclassified.lab1"
    assert feed.event(feed.vm(tenant=None)).subject == "esc.v1.vm.alive.lab1._.dep-1.vm-1"


def test_headers_are_those_of_a_cloud_event() -> None:
    """All that CloudEvents 1.0 demands is there, and the extensions that docs/feed.md#headers names."""
    entity = feed.vm(sequence=42)
    entry = feed.transition(entity, operation="t 1")
    assert orjson.loads(transition_event(entry, entity).headers) == {
        "ce-id": str(entry.id),
        "ce-specversion": "1.0",
        "ce-source": "/esc/lab1",
        "ce-type": "esc.vm.alive.v1",
        "ce-subject": "vm/dep-1/vm-1",
        "ce-time": "2026-03-01T12:30:15.123456Z",
        "ce-sequence": "00000000000000000042",
        "ce-partitionkey": "lab1/deployment/dep-1",
        "ce-correlationid": "t%201",
        "content-type": "application/json",
        "Nats-Msg-Id": str(entry.id),
    }


def test_a_deployment_and_its_vms_share_a_partition() -> None:
    """So a consumer that partitions sees them in order; an operation, which learns its deployment later, goes alone."""
    keys = [orjson.loads(feed.event(entity).headers)["ce-partitionkey"] for entity in ENTITIES]
    assert keys == [
        "lab1/deployment/dep-1",
        "lab1/deployment/dep-1",
        "lab1/operation/t-1",
        "lab1/resource/network/net-1",
        "lab1/source/lab1",
    ]


def test_unclassified_callback_has_its_receipt_as_id_and_no_sequence() -> None:
    """There is no ledger entry behind it."""
    row = unclassified_event(notification(transaction_id="t-1"), "an unknown root", "unknown-root")
    headers = orjson.loads(row.headers)
    assert headers["ce-id"] == headers["Nats-Msg-Id"] == str(UUID(int=7)) == str(row.id)
    assert "ce-sequence" not in headers
    assert headers["ce-correlationid"] == "t-1"
    assert row.kv_key is None
    validate(row)


@pytest.mark.parametrize(
    ("traceparent", "passed"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nX: y", False),
        ("", False),
        (None, False),
    ],
)
def test_traceparent_is_passed_on_when_well_formed(traceparent: str | None, passed: bool) -> None:
    """A trace goes on behind the broker; anything else than a trace does not."""
    entity = feed.vm()
    headers = orjson.loads(transition_event(feed.transition(entity), entity, traceparent).headers)
    assert headers.get("traceparent") == (traceparent if passed else None)


def test_kv_keys_are_those_of_the_design() -> None:
    """Only deployments and VMs have one, and an older incarnation must not overwrite the current one."""
    assert [feed.event(entity).kv_key for entity in ENTITIES] == [
        "vm.lab1.dep-1.vm-1",
        "deployment.lab1.dep-1",
        None,
        None,
        None,
    ]
    assert feed.event(feed.deployment(current=False)).kv_key is None
    assert vm_key("lab 1", "d.1", "v") == "vm.lab=201.d=2E1.v"
    assert deployment_key("lab1", None) == "deployment.lab1._"


def test_key_of_an_ended_thing_may_go() -> None:
    """That is what `kv_ended` tells the relay."""
    assert feed.event(feed.vm(state="UNDEPLOYED", ended_at=feed.NOW)).kv_ended
    assert not feed.event(feed.vm()).kv_ended


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: type(entity).__name__)
def test_item_is_what_people_may_see_and_stands_in_the_schema(entity: Entity) -> None:
    """A new column is not forgotten in the schema, and the rules' own memory is not shown."""
    names = [name for name in entity._fields if name not in ("memory", "vms")]
    later: dict[type, list[str]] = {Deployment: ["deployment"], Operation: ["inferred"]}  # messages of before lack it
    by_another_name = later.get(type(entity), [])
    assert list(item(entity)) == names + by_another_name
    described = schema(feed.transition(entity).entity)["properties"]["item"]
    assert described["required"] == names
    shown = [name for name in described["properties"] if name not in ("truncated", *by_another_name)]
    assert shown == names
    assert set(by_another_name) <= set(described["properties"])


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: type(entity).__name__)
def test_payload_follows_its_schema_and_the_schema_names_all_of_it(entity: Entity) -> None:
    """Both ways: nothing is published that the schema does not name."""
    row = feed.event(entity)
    validate(row)
    payload = orjson.loads(row.payload)
    described = schema(payload["entity"])["properties"]
    assert set(payload) == set(described) - {"truncated"}
    assert payload["at"] == "2026-03-01T12:30:15.123456Z"


@pytest.mark.parametrize("name", ["callback", "deployment", "operation", "resource", "source", "vm"])
def test_schemas_are_schemas(name: str) -> None:
    """Each is valid JSON Schema 2020-12 itself."""
    jsonschema.Draft202012Validator.check_schema(schema(name))


def test_message_that_is_too_large_is_cut_down_and_says_so() -> None:
    """The least is cut that makes it fit, and what is left follows the schema."""
    entity = feed.vm(interfaces=[{"nic_id": n, "name": "x" * 1_000} for n in range(100)], extra={"kept": "whole"})
    row = feed.event(entity)
    cut = shortened(row.payload.encode(), 65_536)
    payload = orjson.loads(cut)
    assert len(cut) <= 65_536
    assert payload["truncated"] == payload["item"]["truncated"] == ["interfaces"]
    assert payload["item"]["interfaces"] == []
    assert payload["item"]["extra"] == {"kept": "whole"}
    assert orjson.loads(item_json(cut)) == payload["item"]
    validate(row._replace(payload=cut.decode()))


@settings(max_examples=25)  # of 200 kB each
@given(st.text(alphabet=st.characters(), min_size=1), st.sampled_from(ENTITIES))
def test_however_large_64_kib_are_enough(text: str, entity: Entity) -> None:
    """So a broker with the least limit we accept takes every message."""
    large = text * (200_000 // len(text))
    texts = {
        name: large
        for name, kind in get_type_hints(type(entity)).items()
        if kind in {str, str | None} and name != "state"
    }
    entity = entity._replace(**texts)  # type: ignore[arg-type]  # only texts are given
    row = transition_event(feed.transition(entity, reason=large, trigger=large, ref=large, change=large), entity)
    cut = shortened(row.payload.encode(), 1)
    assert len(cut) + len(row.headers) + 128 <= 65_536
    validate(row._replace(payload=cut.decode()))
