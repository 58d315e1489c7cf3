"""The state a receiver must be in after the traffic: the auditor's side.

`record` takes each operation and what happened to its messages, and collects what the scripts claim; no state machine
is replayed. What a lost message leaves open is not claimed. This file must not know how the actual state was found
out: `check` takes plain dictionaries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from esc_lab.simulator.delivery_faults import PlannedDelivery, Sort
from esc_lab.simulator.script_runner import Claim, EntityKind, Key, Operation

Fate = Literal["kept", "lost", "unsure"]
"""Whether the receiver has it: it said so; it cannot have; it may have (the connection broke before the answer)."""

Actual = Mapping[str, Mapping[Any, Any]]
"""`deployments`, `vms`, `operations`, `resources`: by the keys of `script_runner.Key`, each a mapping with `state`, for
VMs perhaps also `vm_uuid` and `aliases`. `outcomes`: number of callbacks by outcome. A section left out is not
checked, nor is a field left out."""

SECTIONS: Mapping[EntityKind, str] = {
    "deployment": "deployments",
    "vm": "vms",
    "operation": "operations",
    "resource": "resources",
}

ENDED = frozenset({"UNDEPLOYED", "DELETED"})


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A difference between the expected and the actual state."""

    section: str
    key: Any
    field: str
    expected: Any
    actual: Any

    def __str__(self) -> str:
        return f"{self.section} {self.key}: {self.field} should be {self.expected}, but is {self.actual}"


@dataclass(slots=True)
class ExpectedEntity:
    """The certain facts about one entity. A field that is missing may have any value."""

    fields: dict[str, frozenset[str]] = field(default_factory=dict)
    exists: bool = False
    """Whether it must be there; else it may be."""
    uuids_known: set[str] = field(default_factory=set)
    """Aliases a VM must have."""
    uuids_heard: set[str] = field(default_factory=set)
    """Uuids under which a received message has named the VM."""
    uuids_possible: set[str] = field(default_factory=set)


class ExpectedState:
    """All claims of a run, operation by operation."""

    def __init__(self) -> None:
        self.entities: dict[EntityKind, dict[Key, ExpectedEntity]] = {kind: {} for kind in SECTIONS}
        self.sent: Counter[tuple[Sort, Fate]] = Counter()
        self.gaps = 0
        """Messages that the fault `gap` held back."""
        self.disorder = 0
        """Messages of operations that were sent out of order, and steps that a recovery takes a second time."""
        self.perhaps_repeated = 0
        """Messages sent again because no answer came; the first may have been stored too."""
        self._undeployed: dict[tuple[str, str], bool] = {}
        self._blurred: set[tuple[str, str]] = set()

    def record(self, delivery: PlannedDelivery, fates: Sequence[Fate | None]) -> None:
        """Adds one operation; `fates` are those of its sendings, in their order (None: not sent)."""
        operation = delivery.operation
        by_position = _best_fates(delivery, fates)
        self._count(delivery, fates)
        self._blur_if_incarnations_mix(operation)
        self._add_entities(operation, by_position, reordered=delivery.reordered)
        for claim in operation.claims:
            self._add_claim(claim, by_position)
        self._add_outcome(operation, by_position)
        self._note_undeploy(operation, by_position)

    def check(self, actual: Actual, *, ended_may_be_absent: bool = False) -> list[Discrepancy]:
        """Every difference between what is certain and `actual`.

        `ended_may_be_absent`: what is undeployed or deleted need not be there (a key-value bucket drops it).
        """
        found: list[Discrepancy] = []
        for kind, section in SECTIONS.items():
            if section in actual:
                found += self._check_section(kind, section, actual[section], ended_may_be_absent=ended_may_be_absent)
        return found + list(self._check_outcomes(actual.get("outcomes")))

    def as_dict(self) -> dict[str, Any]:
        """For a file: sections of entries with `key`, `exists` and the values allowed for each certain field."""
        sections = {
            section: [
                {"key": list(key), "exists": one.exists, **{name: sorted(v) for name, v in one.fields.items() if v}}
                for key, one in self.entities[kind].items()
            ]
            for kind, section in SECTIONS.items()
        }
        sent = {f"{sort} {fate}": number for (sort, fate), number in sorted(self.sent.items())}
        return {**sections, "sent": sent, "gaps": self.gaps}

    def _count(self, delivery: PlannedDelivery, fates: Sequence[Fate | None]) -> None:
        for sending, fate in zip(delivery.sendings, fates, strict=True):
            if fate is not None:
                self.sent[sending.sort, fate] += 1
        real = sum(1 for sending in delivery.sendings if sending.sort == "real")
        self.gaps += len(delivery.operation.messages) - real
        self.disorder += real if delivery.reordered else _steps_back(delivery.operation)

    def _blur_if_incarnations_mix(self, operation: Operation) -> None:
        """A receiver that missed the undeploy takes the next incarnation for the old one: claim nothing
        (docs/esc-callbacks.md#6.3)."""
        deployment = operation.deployment
        if deployment is None:
            return
        name = (str(deployment[0]), str(deployment[1]))
        if operation.kind == "deploy" and not self._undeployed.get(name, True):
            self._blurred.add(name)
            for kind in ("deployment", "vm"):
                for key, expected in self.entities[kind].items():
                    if key[:2] == name:
                        expected.exists, expected.fields = False, {}

    def _add_entities(self, operation: Operation, fates: Mapping[int, Fate], *, reordered: bool) -> None:
        """Adds every entity that the claims or the messages name."""
        self._expected("operation", (operation.source, operation.transaction))
        for claim in operation.claims:
            self._expected(claim.entity, claim.key)
        for position, message in enumerate(operation.messages):
            fate = fates.get(position, "lost")
            for side, (name, uuid) in enumerate(message.vms):
                vm = self._expected("vm", (*(operation.deployment or ()), name))
                if fate != "lost":
                    vm.uuids_possible.add(uuid)
                if fate == "kept":
                    vm.uuids_heard.add(uuid)
                # A target gives the VM's uuid from now on; a source only says which VM is meant.
                if fate == "kept" and side == 1 and not reordered:
                    vm.uuids_known.add(uuid)

    def _add_claim(self, claim: Claim, fates: Mapping[int, Fate]) -> None:
        if self._is_blurred(claim.key):
            return
        expected = self._expected(claim.entity, claim.key)
        proven = any(fates.get(position) == "kept" for position in claim.by)
        values = claim.values if proven else frozenset[str]()
        if claim.if_known and not expected.fields.get(claim.field):
            values = frozenset()
        expected.fields[claim.field] = values
        # A service stage speaks for VMs that the receiver may never have heard of.
        expected.exists = expected.exists or (proven and (claim.entity != "vm" or bool(expected.uuids_heard)))
        if claim.field == "vm_uuid":
            expected.uuids_known |= values

    def _add_outcome(self, operation: Operation, fates: Mapping[int, Fate]) -> None:
        """An operation ends by its closing message and by nothing else (docs/lifecycle.md#rulings)."""
        expected = self._expected("operation", (operation.source, operation.transaction))
        expected.exists = "kept" in fates.values()
        if not operation.closed_by:
            return
        closing = {fates.get(position, "lost") for position in operation.closed_by}
        if "kept" in closing:
            expected.fields["state"] = frozenset({operation.outcome})
        elif closing == {"lost"} and not operation.has_resource_steps:
            # A step on a network, seen alone, could pass for a whole operation; then nothing is certain.
            expected.fields["state"] = frozenset({"OPEN", "OVERDUE"})

    def _note_undeploy(self, operation: Operation, fates: Mapping[int, Fate]) -> None:
        if operation.kind == "undeploy" and operation.deployment is not None:
            source, internal_id = operation.deployment[:2]
            seen = any(fates.get(position) == "kept" for position in operation.closed_by)
            self._undeployed[str(source), str(internal_id)] = seen

    def _expected(self, kind: EntityKind, key: Key) -> ExpectedEntity:
        return self.entities[kind].setdefault(key, ExpectedEntity())

    def _is_blurred(self, key: Key) -> bool:
        return (key[0], key[1]) in self._blurred

    def _check_section(
        self, kind: EntityKind, section: str, actual: Mapping[Any, Any], *, ended_may_be_absent: bool
    ) -> Iterable[Discrepancy]:
        expected = self.entities[kind]
        for key, one in expected.items():
            if key in actual:
                yield from _differences(section, key, one, actual[key])
            elif one.exists and not (ended_may_be_absent and ENDED & one.fields.get("state", frozenset())):
                yield Discrepancy(section, key, "existence", "there", "missing")
        for key in actual:
            if key not in expected and not self._is_blurred(key):
                yield Discrepancy(section, key, "existence", "unknown to the simulator", "there")

    def _check_outcomes(self, outcomes: Mapping[str, int] | None) -> Iterable[Discrepancy]:
        """Numbers of callbacks by outcome; nothing is claimed when some may or may not have arrived."""
        if outcomes is None or self.perhaps_repeated or any(fate == "unsure" for _, fate in self.sent):
            return
        kept = {sort: number for (sort, fate), number in self.sent.items() if fate == "kept"}
        repeated = kept.get("duplicate", 0)
        expected = {
            "malformed": kept.get("malformed", 0),
            "unclassified": kept.get("unknown", 0),
            "applied + duplicate + late": kept.get("real", 0) + repeated,
        }
        for name, number in expected.items():
            found = sum(outcomes.get(part, 0) for part in name.split(" + "))
            if found != number:
                yield Discrepancy("outcomes", name, "number", number, found)
        not_new = outcomes.get("duplicate", 0) + outcomes.get("late", 0)
        if not_new > repeated + self.disorder:
            yield Discrepancy("outcomes", "duplicate + late", "number", f"at most {repeated + self.disorder}", not_new)


def _steps_back(operation: Operation) -> int:
    """How many messages repeat an event that the operation sent of the same VM before: they may be judged late."""
    sent = Counter((message.event, message.vms[0][0]) for message in operation.messages if message.vms)
    return sum(number - 1 for number in sent.values())


def _best_fates(delivery: PlannedDelivery, fates: Sequence[Fate | None]) -> dict[int, Fate]:
    """The best fate of each message, by position; a repeat is as good as the first."""
    rank: Mapping[Fate, int] = {"lost": 0, "unsure": 1, "kept": 2}
    best: dict[int, Fate] = {}
    for sending, fate in zip(delivery.sendings, fates, strict=True):
        if sending.sort in {"real", "duplicate"} and fate is not None:
            best[sending.position] = max(best.get(sending.position, "lost"), fate, key=lambda one: rank[one])
    return best


def _differences(section: str, key: Key, expected: ExpectedEntity, actual: Mapping[str, Any]) -> Iterable[Discrepancy]:
    for name, values in expected.fields.items():
        if values and name in actual and actual[name] not in values:
            yield Discrepancy(section, key, name, " or ".join(sorted(values)), actual[name])
    if expected.exists and "aliases" in actual:
        aliases = set(actual["aliases"])
        if not expected.uuids_known <= aliases or not aliases <= expected.uuids_possible:
            wanted = f"at least {sorted(expected.uuids_known)}, at most {sorted(expected.uuids_possible)}"
            yield Discrepancy(section, key, "aliases", wanted, sorted(aliases))
