"""The parts of README and docs that follow from the code, by name. Each is Markdown without a newline at its end.

This file must not know into which page a part goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import TypeVar
from uuid import UUID

import orjson

from receiver.events.cloudevents import OutboxRow, transition_event
from receiver.lifecycle import operation_tables, resource, stage_rules
from receiver.model.entities import DeploymentState, EntityKind, OperationState, ResourceState, VmState
from receiver.parsing.parser import parse
from tests.support.commands import commands
from tests.support.lifecycle import World
from tests.support.samples import SAMPLES, envelope_of
from tools.docs import rooms, settings_tables, walk
from tools.docs.diagrams import DEPLOYMENT_ORDER, RESOURCE_ORDER, VM_ORDER, drawn, mermaid
from tools.docs.emulator_parts import EMULATOR_PARTS
from tools.docs.figures import metrics
from tools.docs.scale_parts import SCALE_PARTS
from tools.docs.security_parts import SECURITY_PARTS
from tools.docs.walk import Case, Edge

Row = TypeVar("Row", stage_rules.VmRow, stage_rules.DeploymentRow)

DEPTH_MAX = 64
ARRIVED = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
RECEIPT = UUID("019ca9b2-4233-7c51-8f1c-0d7e3a5b9c42")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _linked(reason: str) -> str:
    """With a link to the source that a reason names."""
    return reason.replace("(A52)", "([A52](esc-callbacks.md#A52))")


def _outcome(*, failed: bool) -> str:
    return "failed" if failed else "ok"


# Commands and settings.


def _commands() -> str:
    rows = [
        (f"`esc-receiver {name}`", command.get_short_help_str(limit=200))
        for name, command in sorted(commands().items())
    ]
    return _table(["command", "does"], rows)


# Diagrams.


def _vm_diagram() -> str:
    return mermaid(drawn(walk.vm_edges(), VM_ORDER), VmState, VmState.UNDEPLOYED)


def _deployment_diagram() -> str:
    return mermaid(drawn(walk.deployment_edges(), DEPLOYMENT_ORDER), DeploymentState, DeploymentState.UNDEPLOYED)


def _operation_diagram() -> str:
    return mermaid((edge for edge in walk.operation_edges() if edge.moves), OperationState)


def _resource_diagram() -> str:
    return mermaid(drawn(walk.resource_edges(), RESOURCE_ORDER), ResourceState, ResourceState.DELETED)


# Tables.


def _leads_to(edges: Iterable[Edge], final: str) -> dict[Case, str]:
    """By message, where it leads from any live state, and where another state makes a difference."""
    ordered = sorted(edges, key=attrgetter("trigger", "failed"))
    return {case: _summary(list(same), final) for case, same in groupby(ordered, attrgetter("trigger", "failed"))}


def _summary(edges: Sequence[Edge], final: str) -> str:
    live = [edge for edge in edges if edge.from_state != final]
    went = ["stays" if not edge.moves else str(edge.to_state) for edge in live]
    targets = [to for to in went if to != "stays"]
    usual = max(sorted(set(targets)), key=targets.count) if len(targets) > len(live) / 2 else "stays"
    others: dict[str, list[str]] = {}
    for edge in live:
        if edge.to_state != (edge.from_state if usual == "stays" else usual):
            others.setdefault("stays" if not edge.moves else str(edge.to_state), []).append(str(edge.from_state))
    told = [f"{', '.join(states)}: {to}" for to, states in others.items()]
    return "; ".join([usual if usual == "stays" else f"**{usual}**", *told])


def _vm_table() -> str:
    return _stage_table(stage_rules.VM, _leads_to(walk.vm_edges(), VmState.UNDEPLOYED), _remarks)


def _stage_table(rows: Mapping[Case, Row], leads_to: Mapping[Case, str], remarks: Callable[[Row], str]) -> str:
    return _table(
        ["message", "says", "leads to", "rule", "reason", "rank", "remarks"],
        [
            (
                f"`{trigger}`",
                _outcome(failed=failed),
                leads_to[trigger, failed],
                f"`{row.rule}`",
                _linked(row.reason),
                str(row.rank),
                remarks(row),
            )
            for (trigger, failed), row in rows.items()
        ],
    )


def _remarks(row: stage_rules.VmRow) -> str:
    said = {
        "about `vm_target`": row.about == "target",
        f"{', '.join(sorted(row.refine))} when reported so": bool(row.refine),
        f"unseen: as reported{f', else {row.shows_else}' if row.shows_else else ''}": row.shows,
        f"noted `{row.note}`": row.note is not None,
        "opens a recovery": row.recovery == "opens",
        "closes the recovery": row.recovery == "closes",
        "waits for a person": row.recovery == "manual",
        "never late for another operation": row.exempt,
    }
    return "; ".join(text for text, applies in said.items() if applies)


def _deployment_table() -> str:
    edges = (e for e in walk.deployment_edges() if (e.trigger, e.failed) in stage_rules.DEPLOYMENT)
    leads_to = _leads_to(edges, DeploymentState.UNDEPLOYED)
    return _stage_table(stage_rules.DEPLOYMENT, leads_to, _deployment_remarks)


def _deployment_remarks(row: stage_rules.DeploymentRow) -> str:
    said = {
        "a reported state counts": row.to in (stage_rules.AS_REPORTED, stage_rules.FAILS_FIRST_DEPLOY),
        "never ACTIVE before: ERROR": row.to == stage_rules.FAILS_FIRST_DEPLOY,
        f"noted `{row.note}`": row.note is not None,
        "never late for another operation": row.exempt,
    }
    return "; ".join(text for text, applies in said.items() if applies)


def _reports_table() -> str:
    rows = [(f"`{state}`", str(rank)) for state, rank in stage_rules.REPORTED_BY_VM_STAGE.items()]
    return _table(["reported service state", "rank"], rows)


def _closers_table() -> str:
    by_rank = sorted(operation_tables.CLOSERS.items(), key=lambda item: -item[1][0])
    rows = []
    for (rank, state), same in groupby(by_rank, lambda item: item[1]):
        told = dict.fromkeys(f"`{trigger}`" for (trigger, _), _ in same)
        rows.append((str(rank), ", ".join(told), f"**{state}**"))
    events = ", ".join(f"`{trigger}`" for trigger in sorted(operation_tables.CLOSERS_AS_EVENT))
    for failed, rank in enumerate(operation_tables.EVENT_RANKS):
        rows.append(
            (
                str(rank),
                f"{events} as `esc_event`",
                f"**{OperationState.FAILED if failed else OperationState.SUCCEEDED}**",
            )
        )
    for failed, rank in enumerate(operation_tables.RESOURCE_RANKS):
        rows.append(
            (
                str(rank),
                "a resource's event, when nothing else was heard",
                f"**{OperationState.FAILED if failed else OperationState.SUCCEEDED}**",
            )
        )
    return _table(["precedence", "message", "ends it"], sorted(rows, key=lambda row: -int(row[0])))


def _kinds_table() -> str:
    rows = []
    for trigger, (rank, kind) in sorted(operation_tables.KINDS.items(), key=lambda item: -item[1][0]):
        _, when_up = operation_tables.KINDS_WHEN_UP.get(trigger, (0, ""))
        rows.append((f"`{trigger}`", f"`{kind}`", f"`{when_up}`" if when_up else "", str(rank)))
    return _table(["message", "tells of", "when the deployment had been up", "weight"], rows)


def _sources_table() -> str:
    rows = [
        (f"`{trigger}`", _outcome(failed=failed), f"**{row.to}**", f"`{row.rule}`", row.reason, str(row.rank))
        for (trigger, failed), row in stage_rules.SOURCE.items()
    ]
    return _table(["message", "says", "leads to", "rule", "reason", "rank within one transaction id"], rows)


def _workflows_table() -> str:
    by_name = groupby(stage_rules.WORKFLOWS.items(), lambda item: item[1].name)
    rows = []
    for name, messages in by_name:
        told = list(messages)
        steps, ends = (
            ", ".join(f"`{trigger}`" for trigger, one in told if one.ends is ending) for ending in (False, True)
        )
        side = {"source": "`vm_source`", "target": "`vm_target`", "either": "either side"}[told[0][1].shown_by]
        rows.append((name.replace("_", " "), steps, ends, side))
    return _table(["workflow", "steps", "ends", "its VM stands in"], rows)


def _resource_table() -> str:
    rows = [
        (f"`{verb}_…`", f"**{state}**", done, _linked(failed), str(rank))
        for verb, (rank, state, done, failed) in resource.VERBS.items()
    ]
    return _table(["event", "leads to", "reason", "failed: **ERROR**, because", "rank"], rows)


# An example of the feed, made by the code itself from two of ESC's messages.


def _example() -> OutboxRow:
    world = World()
    for n, name in enumerate(("rec-deploy-01-vm-deployed", "rec-deploy-02-vm-alive")):
        receipt, arrived = UUID(int=RECEIPT.int + n), ARRIVED + timedelta(seconds=42 * n)
        envelope = envelope_of(SAMPLES[name], source="lab1", receipt=receipt, received_at=arrived)
        decision = world.hear(parse(envelope, DEPTH_MAX))
    return next(transition_event(t, entity) for t, entity in decision.transitions if t.entity == EntityKind.VM)


def _example_subject() -> str:
    return f"```text\n{_example().subject}\n```"


def _example_headers() -> str:
    lines = (f"{name}: {value}" for name, value in orjson.loads(_example().headers).items())
    return "\n".join(["```text", *lines, "```"])


def _example_payload() -> str:
    payload = json.dumps(orjson.loads(_example().payload), indent=2, ensure_ascii=False)
    return f"```json\n{payload}\n```"


PARTS: Mapping[str, Callable[[], str]] = {
    "rooms-map": rooms.rooms_map,
    "rooms-table": rooms.rooms_table,
    "settings-first": settings_tables.first,
    "settings-rest": settings_tables.rest,
    "commands": _commands,
    "metrics-table": metrics,
    "vm-diagram": _vm_diagram,
    "deployment-diagram": _deployment_diagram,
    "operation-diagram": _operation_diagram,
    "resource-diagram": _resource_diagram,
    "vm-table": _vm_table,
    "deployment-table": _deployment_table,
    "reports-table": _reports_table,
    "closers-table": _closers_table,
    "kinds-table": _kinds_table,
    "sources-table": _sources_table,
    "workflows-table": _workflows_table,
    "resource-table": _resource_table,
    "example-subject": _example_subject,
    "example-headers": _example_headers,
    "example-payload": _example_payload,
    **EMULATOR_PARTS,
    **SECURITY_PARTS,
    **SCALE_PARTS,
}
