"""Draws a walked lifecycle as a Mermaid state diagram.

A message is taken as it comes, from whatever state, so that a drawing of all steps would show that everything leads
everywhere. Drawn are the steps that ESC's own order makes (docs/esc-callbacks.md#5); the tables tell the rest. This
file must not know what a message does: that is walked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from receiver.model.entities import DeploymentState as D
from receiver.model.entities import ResourceState as R
from receiver.model.entities import VmState as V
from tools.docs.walk import Edge

UNSEEN = "UNSEEN"

VM_ORDER: Mapping[str, Sequence[str]] = {
    "VM_DEPLOYED": (V.UNSEEN,),
    "VM_ALIVE": (V.INERT,),
    "VM_STOPPED": (V.ALIVE,),
    "VM_STOP_COMPLETE": (V.ALIVE,),
    "VM_STARTED": (V.STOPPED,),
    "VM_START_COMPLETE": (V.STOPPED,),
    "VM_REBOOTED": (V.ALIVE,),
    "VM_REBOOT_COMPLETE": (V.ALIVE,),
    "VM_RECOVERY_INIT": (V.ALIVE, V.INERT, V.ERROR),
    "VM_RECOVERY_COMPLETE": (V.RECOVERING,),
    "VM_RECOVERY_CANCELLED": (V.RECOVERING,),
    "VM_MANUAL_RECOVERY_NEEDED": (V.ALIVE,),
    "VM_SCALE_OUT_DEPLOYED": (V.UNSEEN,),
    "VM_SCALE_OUT_COMPLETE": (V.INERT,),
    "VM_SCALE_IN_COMPLETE": (V.ALIVE,),
    "VM_UNDEPLOYED": (V.ALIVE, V.STOPPED),
    "SERVICE_UNDEPLOYED": (V.ERROR,),
}
"""From which states ESC's own order lets each message come; what moves nothing from there is not drawn."""
DEPLOYMENT_ORDER: Mapping[str, Sequence[str]] = {
    "VM_DEPLOYED": (D.UNSEEN, D.ACTIVE),
    "VM_ALIVE": (D.DEPLOYING,),
    "VM_STARTED": (D.STOPPED,),
    "VM_REBOOTED": (D.ACTIVE,),
    "VM_UNDEPLOYED": (D.ACTIVE, D.STOPPED),
    "SERVICE_ALIVE": (D.DEPLOYING, D.INERT, D.STARTING, D.REBOOTING),
    "SERVICE_UPDATED": (D.INERT,),
    "SERVICE_STOPPED": (D.ACTIVE,),
    "VM_RECOVERY_COMPLETE": (D.ACTIVE,),
    "SERVICE_UNDEPLOYED": (D.ACTIVE, D.STOPPED, D.UNDEPLOYING, D.ERROR),
}
RESOURCE_ORDER: Mapping[str, Sequence[str]] = {
    "CREATE_NETWORK": (R.UNSEEN,),
    "UPDATE_NETWORK": (R.CREATED,),
    "DELETE_NETWORK": (R.CREATED, R.UPDATED, R.ERROR),
}


def drawn(edges: Iterable[Edge], order: Mapping[str, Sequence[str]]) -> list[Edge]:
    """The steps that ESC's own order makes."""
    return [edge for edge in edges if edge.moves and edge.from_state in order.get(edge.trigger, ())]


def mermaid(edges: Iterable[Edge], states: Iterable[str], final: str | None = None) -> str:
    """A fenced diagram: one arrow for all messages that make the same step, in the order of the states."""
    place = {str(state): n for n, state in enumerate(states)}
    labels: dict[tuple[str, str], dict[str, set[bool]]] = {}
    for edge in sorted(edges, key=lambda edge: (place[edge.from_state], place[edge.to_state])):
        said = labels.setdefault((edge.from_state, edge.to_state), {})
        said.setdefault(edge.trigger, set()).add(edge.failed)
    lines = [f"    {_state(a)} --> {_state(b)}: {_label(said)}" for (a, b), said in labels.items()]
    ends = [f"    {final} --> [*]"] if final else []
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, *ends, "```"])


def _state(state: str) -> str:
    return "[*]" if state == UNSEEN else str(state)


def _label(said: Mapping[str, set[bool]]) -> str:
    """What leads there well or badly is named once, without its outcome."""
    return "<br/>".join(f"{trigger} failed" if outcomes == {True} else trigger for trigger, outcomes in said.items())
