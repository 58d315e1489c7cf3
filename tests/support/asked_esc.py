"""The core of the emulator without HTTP and clock: one ESC whose every message and answer is made by hand, and a
receiver's knowledge beside it. Nothing stands in for either: the messages are ESC's bytes, read and decided as ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from esc_lab.emulator.codec import read_body, write_body, write_list
from esc_lab.emulator.endpoint_tables import ROWS
from esc_lab.emulator.esc import Esc
from esc_lab.emulator.handlers.configuration import defaults
from esc_lab.emulator.healing import die, scale_in, scale_out
from esc_lab.emulator.models import MODELS
from esc_lab.emulator.options import Recovery
from esc_lab.emulator.refusal import RefusalError
from esc_lab.emulator.work_items import Call, Work
from esc_lab.emulator.world import Urls, admin_tenant
from esc_lab.simulator.esc_messages import Message
from esc_lab.simulator.resource_scripts import Resource
from receiver.lifecycle import DelayedContext
from receiver.lifecycle.answer import Answer, Known, judge
from receiver.model.entities import Decision, Deployment, DeploymentState, Operation, OperationState, Vm
from receiver.model.entity_ids import entity_id
from receiver.model.envelope import Envelope, read_head
from receiver.model.notification import Channel, Notification
from receiver.parsing.answer_parser import ShownDeployment, read_answer
from receiver.parsing.parser import parse
from tests.support.emulator import model
from tests.support.lifecycle import EPOCH, World

BY_NAME = {row.name: row for row in ROWS}
URLS = Urls("http://receiver/callback", "http://receiver/events")
DEPTH_MAX = 64
SERVICE_OPERATIONS = ("stop", "start", "reboot", "enable_monitoring", "disable_monitoring")


class AskedEsc:
    """One ESC with a tenant `acme`."""

    def __init__(self, seed: str = "1") -> None:
        self.esc = Esc(seed, source="lab")
        for resource in (admin_tenant(), *defaults()):
            self.esc.world.put(resource)
        values = {"internal_tenant_id": "acme", "external_tenant_id": "acme-ext", "name": "acme", "enabled": True}
        self.esc.world.put(Resource("tenant", "acme", values, state="CREATED"))
        self.under_way: dict[str, tuple[Work, int]] = {}
        """By deployment: the work, and how many of its messages are made."""
        self.ended: dict[str, str] = {}
        """How operations really ended, by transaction."""

    def request(self, what: str, deployment: str) -> bool:
        """Begin this operation; False when ESC refuses it."""
        self.esc.reseed(f"{what} {deployment}")
        try:
            work = self._work(what, deployment)
        except RefusalError:
            self.esc.release_claim()
            return False
        self.under_way[deployment] = work, 0
        return True

    def _work(self, what: str, deployment: str) -> Work:
        if what in ("deploy", "update"):
            groups: dict[str, dict[str, Any]] = {"web": {"vms": 2}, "db": {"watched": False}}
            groups = groups if what == "deploy" else {"web": {"vms": 1, "max": 3}}
            body = read_body(model(deployment, groups).encode(), "xml", MODELS["esc_datamodel"])
            return self._call(what, deployment, body=body)
        if what == "undeploy":
            return self._call("undeploy", deployment)
        if what in SERVICE_OPERATIONS:
            order = f"<service_operation><operation>{what}</operation></service_operation>"
            return self._call(
                "service_operation", deployment, body=read_body(order.encode(), "xml", MODELS["service_operation"])
            )
        if what in ("scale_out", "scale_in"):
            return (scale_out if what == "scale_out" else scale_in)(self.esc, deployment, "web")
        recovery: Recovery = what.removeprefix("die-")  # type: ignore[assignment]  # of those that there are
        vms = [vm for vm in self.esc.deployment(deployment).deployment.live_vms() if vm.monitored]
        return die(self.esc, vms[0].name if vms else "none", recovery)

    def _call(self, name: str, deployment: str, **more: Any) -> Work:
        row = BY_NAME[name]
        path = {"internal_deployment_id": deployment, "internal_tenant_id": "acme"}
        work = row.does(self.esc, Call(row, path, urls=URLS, **more)).work
        assert isinstance(work, Work)
        return work

    def step(self, deployment: str) -> tuple[Work, Message] | None:
        """The next message of what is under way, and all that it changes at ESC."""
        if deployment not in self.under_way:
            return None
        work, position = self.under_way[deployment]
        message = work.operation.messages[position]
        work.apply(message)
        if position + 1 == len(work.operation.messages):
            work.finish()
            self.ended[work.operation.transaction] = work.operation.outcome
            self._release(deployment)
        else:
            self.under_way[deployment] = work, position + 1
        return work, message

    def fail_over(self) -> None:
        """What is under way stays where it is, and is never heard of again."""
        for deployment in list(self.under_way):
            self._release(deployment)

    def _release(self, deployment: str) -> None:
        work, _ = self.under_way.pop(deployment)
        self.esc.world.in_progress.discard(work.key)

    def answer(self, deployment: str = "") -> bytes | None:
        """What it says of all deployments, or of one; None: 404."""
        row = BY_NAME["get_deployment" if deployment else "list_deployments"]
        try:
            reply = row.does(self.esc, Call(row, {"internal_deployment_id": deployment}))
        except RefusalError:
            return None
        if reply.many is not None:
            return write_list("xml", MODELS["deployment"], reply.many)[0]
        return write_body("xml", MODELS["deployment"], reply.one)[0]


@dataclass
class Asking:
    """An ESC, what a receiver knows of it, and the time."""

    asked: AskedEsc = field(default_factory=AskedEsc)
    world: World = field(default_factory=World)
    now_s: float = 0.0
    number: int = 0

    def read(self, message: Message) -> Notification:
        """The callback, as it arrives now."""
        self.number += 1
        self.now_s += 0.001
        head = read_head(((n.encode(), v.encode()) for n, v in message.headers.items()), 2**31)
        envelope = Envelope.of(
            head, receipt=entity_id("callback", self.number), received_at=EPOCH + timedelta(seconds=self.now_s),
            source="lab", channel=Channel(message.channel), remote=None, ref=None, body=message.body, redacted=False,
        )  # fmt: skip
        return parse(envelope, DEPTH_MAX)

    def hear(self, message: Message) -> Decision:
        """It arrives, and is decided."""
        return self.world.hear(self.read(message))

    def finish(self, what: str, deployment: str, is_kept: Callable[[int], bool] = lambda _: True) -> list[Message]:
        """The whole operation; of its messages those that are kept arrive, one a second."""
        assert self.asked.request(what, deployment), what
        made = []
        while (found := self.asked.step(deployment)) is not None:
            made.append(found[1])
            self.now_s += 1
            if is_kept(len(made) - 1):
                self.hear(found[1])
        return made

    def sweep(self) -> list[Decision]:
        """Ask for all now, and judge at once."""
        body = self.asked.answer()
        assert body is not None
        return self.judge_list(body, self.now_s)

    def judge_list(self, body: bytes, asked_s: float) -> list[Decision]:
        """What an answer of then does now."""
        shown = {one.deployment.internal_id: one for one in read_answer(body, DEPTH_MAX).shown}
        known = {d.internal_deployment_id for d in self.world.all(Deployment) if d.current}
        about = {o.deployment for o in self.world.all(Operation) if o.deployment}
        return [self.judge(name, shown.get(name), asked_s) for name in sorted(shown.keys() | known | about)]

    def judge(self, name: str, shown: ShownDeployment | None, asked_s: float) -> Decision:
        """One of them."""
        self.number += 1
        answer = Answer(
            entity_id("answer", self.number), "lab", name, EPOCH + timedelta(seconds=asked_s),
            EPOCH + timedelta(seconds=max(self.now_s, asked_s)), shown.deployment if shown else None,
            shown.vms if shown else (),
        )  # fmt: skip
        decision = judge(self.known(name), answer, self.world.windows)
        for entity in decision.entities:
            self.world.rows[entity.id] = entity
        self.world.ledger += [transition for transition, _ in decision.transitions]
        self.world.aliases += decision.aliases
        return decision

    def known(self, name: str) -> Known:
        """As PostgreSQL would give it."""
        rows = [d for d in self.world.all(Deployment) if d.internal_deployment_id == name and d.current]
        deployment = rows[0] if rows else None
        vms = {v.vm_name: v for v in self.world.all(Vm) if deployment and v.deployment_id == deployment.id}
        unended = (OperationState.OPEN, OperationState.OVERDUE)
        operations = [o for o in self.world.all(Operation) if o.deployment == name and o.state in unended]
        return Known(deployment, vms, operations)

    def differences(self) -> list[str]:
        """Where what is known is not what ESC has."""
        body = self.asked.answer()
        assert body is not None
        shown = {one.deployment.internal_id: one for one in read_answer(body, DEPTH_MAX).shown}
        found = []
        for one in self.world.all(Deployment):
            if one.current and one.internal_deployment_id not in shown:
                found += _unless_gone(one, self.vms_of(one))
        for name, there in shown.items():
            found += self._compared(name, there)
        return found

    def vms_of(self, deployment: Deployment) -> Sequence[Vm]:
        """Those of this incarnation."""
        return [vm for vm in self.world.all(Vm) if vm.deployment_id == deployment.id]

    def _compared(self, name: str, there: ShownDeployment) -> list[str]:
        known, report = self.known(name), there.deployment
        if report.state in (None, "UNSEEN"):
            return []
        if known.deployment is None:
            return [f"{name}: not known, and ESC has it"]
        found = []
        if known.deployment.state != report.state and not _is_ahead(there):
            found.append(f"{name}: {known.deployment.state}, and ESC says {report.state}")
        if known.deployment.external_deployment_id != report.external_id:
            found.append(f"{name}: external id {known.deployment.external_deployment_id}, not {report.external_id}")
        live = {vm.vm_name: vm for vm in known.vms.values() if vm.state != "UNDEPLOYED"}
        shown = {str(vm.name): vm for vm in there.vms}
        if shown and live.keys() != shown.keys():
            found.append(f"{name}: VMs {sorted(live)}, and ESC shows {sorted(shown)}")
        for vm_name in live.keys() & shown.keys():
            found += _vm_differs(live[vm_name], shown[vm_name])
        counts = {
            state: sum(vm.state == state for vm in known.vms.values())
            for state in {v.state for v in known.vms.values()}
        }
        if counts != known.deployment.vms:
            found.append(f"{name}: counts {known.deployment.vms}, and its VMs are {counts}")
        return found


def _unless_gone(one: Deployment, vms: Sequence[Vm]) -> list[str]:
    found = (
        []
        if one.state == DeploymentState.UNDEPLOYED
        else [f"{one.internal_deployment_id}: {one.state}, and ESC has it not"]
    )
    return found + [f"{vm.vm_name}: {vm.state}, its deployment is gone" for vm in vms if vm.state != "UNDEPLOYED"]


def _is_ahead(there: ShownDeployment) -> bool:
    return there.deployment.state == "STOPPED" and any(vm.state not in ("STOPPED", "ERROR") for vm in there.vms)


def _vm_differs(known: Vm, shown: Any) -> list[str]:
    found = []
    under_way = known.state == "RECOVERING" and shown.state in ("REBOOTING", "UNDEPLOYING", "DEPLOYING")
    runs_on = known.state == "ALIVE" and known.monitored is False and shown.state == "INERT"
    if known.state != shown.state and not under_way and not runs_on:
        found.append(f"{known.vm_name}: {known.state}, and ESC says {shown.state}")
    if known.vm_uuid != shown.uuid and not under_way:
        found.append(f"{known.vm_name}: instance {known.vm_uuid}, and ESC says {shown.uuid}")
    return found


__all__ = ["AskedEsc", "Asking", "DelayedContext"]
