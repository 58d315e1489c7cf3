"""What the receiver knows beside what ESC has: deployments, VMs and operations, told as text where they differ.

ESC's world is read from its own GETs and control API, in words of this file: nothing of the receiver's reading or
rules is used. What asking cannot tell is left as it is, and that is checked too (docs/reconcile.md#judging).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from chaos.asking.esc import Esc
from chaos.stage import Connection

STATES = {"SHUTOFF": "STOPPED"}
"""ESC's words that are not ours."""
GOING_ON = {"REBOOTING", "UNDEPLOYING", "DEPLOYING"}
ENDED = {"SUCCEEDED", "FAILED", "CANCELLED"}
NEVER_ENDED = {"LOST", "INTERRUPTED"}
SAYS_NOTHING = {"UNDEF", "DEPLOYING", "STARTING", "REBOOTING", "STOPPING", "UNDEPLOYING"}

DEPLOYMENTS = "SELECT id, internal_deployment_id AS name, incarnation, state FROM deployments WHERE current"
VMS = "SELECT deployment_id, vm_name, state, monitored, vm_uuid FROM vms WHERE state <> 'UNDEPLOYED'"
OPERATIONS = "SELECT transaction_id, kind, deployment, state, memory FROM operations"


@dataclass(frozen=True, slots=True)
class EscWorld:
    """What it has."""

    deployments: Mapping[str, Mapping[str, Any]]
    operations: Mapping[str, Mapping[str, Any]]
    """By transaction, those that ended."""
    told: Mapping[str, str]
    """Of each transaction what became of its last callback."""
    delivered: int
    perhaps: int
    """Callbacks whose answer never came."""
    lost: int


@dataclass(slots=True)
class Compared:
    """Both worlds."""

    findings: list[str] = field(default_factory=list)
    deployments: int = 0
    vms: int = 0
    operations: int = 0
    inferred: int = 0
    """Operations that were closed by asking."""
    untold: int = 0
    """Operations of which asking cannot tell how they ended."""


async def world_of(esc: Esc) -> EscWorld:
    """Now, while nothing goes on."""
    shown = await esc.look("/v0/deployments")
    listed = shown if isinstance(shown, list) else next((v for v in shown.values() if isinstance(v, list)), [])
    deliveries = (await esc.look("/emulator/deliveries"))["items"]
    states = [one["state"] for one in deliveries]
    return EscWorld(
        {one["internal_deployment_id"]: one for one in listed},
        {one["transaction"]: one for one in await esc.operations()},
        {one["transaction"]: one["state"] for one in deliveries},
        states.count("delivered"),
        sum(state in {"unreachable", "refused", "lost"} for state in states),
        states.count("dropped"),
    )


async def compare(connection: Connection, esc: EscWorld) -> Compared:
    """What differs, and how much was compared."""
    found = Compared()
    vms: dict[Any, dict[str, Any]] = {}
    for row in await connection.fetch(VMS):
        vms.setdefault(row["deployment_id"], {})[row["vm_name"]] = row
    known = {row["name"]: row for row in await connection.fetch(DEPLOYMENTS)}
    for name in sorted(known.keys() | esc.deployments.keys()):
        ours, there = known.get(name), esc.deployments.get(name)
        found.deployments += 1
        found.findings += _deployment(name, ours, vms.get(ours["id"], {}) if ours else {}, there)
        found.vms += len(there["deployment_details"]) if there else 0
    for row in await connection.fetch(OPERATIONS):
        if row["deployment"]:
            _operation(found, row, esc)
    stored = await connection.fetchval("SELECT count(*) FROM callbacks WHERE channel <> 'reconcile'")
    if not esc.delivered <= stored <= esc.delivered + esc.perhaps:
        found.findings.append(f"{stored} callbacks kept, {esc.delivered} were answered and {esc.perhaps} perhaps sent")
    return found


def _deployment(name: str, row: Any, vms: Mapping[str, Any], there: Mapping[str, Any] | None) -> Iterable[str]:
    if there is None:
        if row["state"] != "UNDEPLOYED":
            yield f"deployment {name}: {row['state']}, and ESC has it not"
        yield from (f"VM {vm}: {vms[vm]['state']}, and ESC has its deployment not" for vm in vms)
        return
    state = _word(there["service_state_machine_state"])
    shown = {vm["vm_name"]: vm for vm in there["deployment_details"]}
    if state == "UNDEF":  # nothing was ever said of it, and nothing is known of it
        return
    if row is None:
        yield f"deployment {name}: not known, and ESC says {state}"
        return
    is_ahead = state == "STOPPED" and any(_state(vm) not in {"STOPPED", "ERROR"} for vm in shown.values())
    if row["state"] != state and not is_ahead:
        yield f"deployment {name}: {row['state']}, and ESC says {state}"
    if shown and shown.keys() != vms.keys():
        yield f"deployment {name}: VMs {sorted(vms)}, and ESC shows {sorted(shown)}"
    for vm in shown.keys() & vms.keys():
        yield from _vm(vms[vm], shown[vm])


def _vm(row: Any, there: Mapping[str, Any]) -> Iterable[str]:
    state = _state(there)
    recovers = row["state"] == "RECOVERING" and state in GOING_ON
    runs_on = row["state"] == "ALIVE" and row["monitored"] is False and state == "INERT"
    if row["state"] != state and not recovers and not runs_on:
        yield f"VM {row['vm_name']}: {row['state']}, and ESC says {state}"
    if there.get("vm_uuid") and row["vm_uuid"] != there["vm_uuid"] and not recovers:
        yield f"VM {row['vm_name']}: instance {row['vm_uuid']}, and ESC says {there['vm_uuid']}"


def _operation(found: Compared, row: Any, esc: EscWorld) -> None:
    found.operations += 1
    transaction, kind, state = row["transaction_id"], row["kind"], row["state"]
    memory = orjson.loads(row["memory"]) if isinstance(row["memory"], str) else row["memory"]
    name, truth = f"operation {kind} {transaction} of {row['deployment']}", esc.operations.get(transaction)
    found.inferred += bool(memory.get("inferred"))
    if truth is None:
        found.findings.append(f"{name}: {state}, and ESC knows it not")
    elif state in ENDED:
        found.findings += _ended(name, state, truth, unheard=_unheard(row, truth, esc))
    else:
        found.untold += 1
        found.findings += _open(name, row, memory, truth, esc)


def _ended(name: str, state: str, truth: Mapping[str, Any], *, unheard: bool) -> Iterable[str]:
    if truth["outcome"] not in ("", state) and not (truth["outcome"] in NEVER_ENDED and unheard):
        yield f"{name}: {state}, and in truth {truth['outcome']}"


def _unheard(row: Any, truth: Mapping[str, Any], esc: EscWorld) -> bool:
    """Whether a later one of its kind did, unheard, what this one was lost with: nobody can tell them apart."""
    later: Sequence[Mapping[str, Any]] = list(esc.operations.values())[
        list(esc.operations).index(row["transaction_id"]) :
    ]
    same = [one for one in later if (one["deployment"], one["kind"]) == (truth["deployment"], truth["kind"])]
    return any(one["outcome"] == row["state"] for one in same)


def _open(name: str, row: Any, memory: Mapping[str, Any], truth: Mapping[str, Any], esc: EscWorld) -> Iterable[str]:
    there = esc.deployments.get(row["deployment"])
    state = _word(there["service_state_machine_state"]) if there else "GONE"
    is_sure = (row["kind"], state) in {("deploy", "ACTIVE"), ("undeploy", "GONE")} and _is_newest(truth, esc)
    if row["state"] != "OVERDUE":
        yield f"{name}: still {row['state']}, and in truth {truth['outcome']}"
    elif truth["told"] and esc.told.get(row["transaction_id"]) == "delivered" and truth["outcome"] in ENDED:
        yield f"{name}: {row['state']}, and its last callback, {truth['outcome']}, was delivered"
    elif truth["outcome"] == "SUCCEEDED" and is_sure:
        yield f"{name}: {row['state']}, and ESC, where its deployment is {state}, leaves no doubt"
    elif state not in SAYS_NOTHING and not memory.get("asked"):
        yield f"{name}: {row['state']} without a note of what ESC says ({state})"


def _is_newest(truth: Mapping[str, Any], esc: EscWorld) -> bool:
    """Whether no other deployment has had its id since; what ESC says now is about that one."""
    same = [one["incarnation"] for one in esc.operations.values() if one["deployment"] == truth["deployment"]]
    return bool(truth["incarnation"] == max(same))


def _state(vm: Mapping[str, Any]) -> str:
    return _word(vm["vm_state_machine_state"])


def _word(state: str) -> str:
    word = state.removeprefix("SERVICE_").removeprefix("VM_").removesuffix("_STATE")
    return STATES.get(word, word)
