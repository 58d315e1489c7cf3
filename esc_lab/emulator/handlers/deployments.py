"""Chapters 06 and 07: a deployment comes, changes and goes; what is done to it as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from esc_lab.emulator.body_schemas import BodyError
from esc_lab.emulator.datamodel import Datamodel, read_datamodel
from esc_lab.emulator.esc import Esc
from esc_lab.emulator.placement import change, vms_of
from esc_lab.emulator.refusal import conflict, invalid, missing
from esc_lab.emulator.resource_callbacks import as_resource, defaults
from esc_lab.emulator.views import deployment_view
from esc_lab.emulator.work_items import Call, Reply
from esc_lab.emulator.workflows import Play, line_of, scripted
from esc_lab.emulator.world import Placed, Thing
from esc_lab.simulator.fleet import Deployment, Tenant, Vm, uuid_of
from esc_lab.simulator.resource_scripts import Resource
from esc_lab.simulator.script_runner import Cast


def list_deployments(esc: Esc, _: Call) -> Reply:
    """GET all."""
    return Reply(many=[deployment_view(placed) for _, placed in sorted(esc.world.deployments.items())])


def get_deployment(esc: Esc, call: Call) -> Reply:
    """GET one, with its VMs as they are now."""
    return Reply(deployment_view(_there(esc, call)))


def get_deployment_config(esc: Esc, call: Call) -> Reply:
    """GET the data model as it was given."""
    placed = _there(esc, call)
    return Reply(text=(placed.text, f"application/{placed.language}"))


def deploy(esc: Esc, call: Call) -> Reply:
    """POST: VMs as the data model says; one fails or stays silent when a fault is armed."""
    deployment_id = esc.new_id(call.path["internal_deployment_id"], "deployment id")
    model = _model(call)
    tenant = esc.tenant(model.tenant)
    if taken := esc.world.names.get((tenant.internal_id, model.name)):
        raise conflict(f"tenant {model.tenant!r} has a deployment of the name {model.name!r}: {taken}")
    deployment = _new_deployment(esc, deployment_id, tenant, model)
    placed = Placed(deployment, model, call.body.text, call.body.language, call.body.fields, call.urls)
    vms = [vm for group in model.groups for vm in vms_of(esc, deployment, group, group.min_active)]
    esc.begin(line_of(placed))
    play = _deploy_play(esc, vms, _make_networks(esc, placed))
    deployment.vms += [vm for role, some in play.cast.items() if role != "failed" for vm in some]
    esc.world.place(placed)
    return Reply(work=scripted(esc, placed, play, call.urls))


def update(esc: Esc, call: Call) -> Reply:
    """PUT: VM groups come and go, interfaces change (docs/esc-callbacks.md#S, chapter 06)."""
    placed, model = _there(esc, call), _model(call)
    _require_same(esc, placed, model)
    esc.begin(line_of(placed))
    done = change(esc, placed, model)
    failing = esc.faults.happens("vm-fails", esc.rng) or esc.faults.happens("work-fails", esc.rng)
    placed.model = _with_new_groups(placed.model, model)
    if failing:
        return Reply(work=scripted(esc, placed, Play("update-fails", {"failed": done.added[:1]}), call.urls))
    placed.deployment.vms += done.added
    for vm in done.changed:
        vm.instance = done.rewired[vm.name]
    cast = {**_by_watch(done.added), "removed": done.removed, "changed": done.changed}

    def adopt() -> None:
        placed.model, placed.fields = model, call.body.fields
        placed.text, placed.language = call.body.text, call.body.language

    return Reply(work=scripted(esc, placed, Play("update", cast), call.urls, afterwards=adopt))


def undeploy(esc: Esc, call: Call) -> Reply:
    """DELETE: the one thing that interrupts whatever goes on (docs/esc-callbacks.md#5). Also after a failure it is
    gone."""
    placed = _there(esc, call)
    esc.begin(line_of(placed), interrupts=True)
    # What was interrupted before it was told of was never made, as far as anybody knows.
    vms = [vm for vm in placed.deployment.live_vms() if vm.name in placed.vm_states]
    failing = esc.faults.happens("work-fails", esc.rng)
    play = (
        Play("undeploy-fails", {"gone": vms[1:], "leaked": vms[:1]})
        if failing
        else Play("undeploy", {"gone": vms}, [_ephemeral(esc.thing(*one)) for one in placed.networks])
    )
    return Reply(
        work=scripted(esc, placed, play, call.urls, afterwards=lambda: esc.world.forget(placed), interrupts=True)
    )


def service_operation(esc: Esc, call: Call) -> Reply:
    """POST: stop, start, reboot, monitoring on or off, of all VMs."""
    tenant = esc.tenant(call.path["internal_tenant_id"])
    placed = esc.deployment(call.path["internal_deployment_id"])
    if placed.deployment.tenant.internal_id != tenant.internal_id:
        raise missing(f"tenant {tenant.internal_id!r} has no deployment {placed.id!r}")
    wanted, deployment = str(call.body.fields["operation"]), placed.deployment
    if wanted not in _APPLICABLE.get(deployment.state, ()):
        raise conflict(f"{wanted} is not applicable: deployment {placed.id!r} is {deployment.state or 'DEPLOYING'}")
    esc.begin(line_of(placed))
    script = _SERVICE[wanted]
    vms = deployment.live_vms()
    if script != "monitor-off" and esc.faults.happens("work-fails", esc.rng):
        return Reply(work=scripted(esc, placed, _failing(script, vms), call.urls))
    return Reply(work=scripted(esc, placed, Play(script, _SERVICE_CASTS[script](vms)), call.urls))


_SERVICE: Mapping[str, str] = {
    "stop": "stop",
    "start": "start",
    "reboot": "reboot",
    "enable_monitoring": "monitor-on",
    "disable_monitoring": "monitor-off",
}


_APPLICABLE: Mapping[str, Sequence[str]] = {
    "ACTIVE": ("stop", "reboot", "enable_monitoring", "disable_monitoring"),
    "STOPPED": ("start",),
    "ERROR": ("reboot",),
}
"""What may be asked for in which state; else a deployment in error is only good for an undeploy
(docs/esc-callbacks.md#A52)."""


def _by_watch(vms: Sequence[Vm]) -> dict[str, Sequence[Vm]]:
    return {"monitored": [vm for vm in vms if vm.monitored], "unmonitored": [vm for vm in vms if not vm.monitored]}


_SERVICE_CASTS: Mapping[str, Callable[[Sequence[Vm]], Cast]] = {
    "stop": lambda vms: {"up": [vm for vm in vms if vm.state != "STOPPED"]},
    "start": lambda vms: _by_watch([vm for vm in vms if vm.state == "STOPPED"]),
    "reboot": _by_watch,
    "monitor-on": lambda vms: {"watched": [vm for vm in vms if vm.monitorable]},
    "monitor-off": lambda vms: {"unwatched": [vm for vm in vms if vm.monitored]},
}


def _failing(script: str, vms: Sequence[Vm]) -> Play:
    """A failing reboot has a VM that does not come back; the others fail as a whole."""
    failed: Cast = {"failed": vms[:1], "monitored": [vm for vm in vms[1:] if vm.monitored]}
    return Play(f"{script}-fails", failed if script == "reboot" else {})


def _deploy_play(esc: Esc, vms: Sequence[Vm], network: Sequence[Resource]) -> Play:
    if vms and esc.faults.happens("vm-fails", esc.rng):
        return Play("deploy-fails", {**_by_watch(vms[1:]), "failed": vms[:1]}, network)
    watched = [vm for vm in vms if vm.monitored]
    if watched and esc.faults.happens("vm-silent", esc.rng):
        others = [vm for vm in vms if vm is not watched[0]]
        return Play("deploy-never-alive", {**_by_watch(others), "silent": watched[:1]}, (), silent=True)
    return Play("deploy", _by_watch(vms), network)


def _new_deployment(esc: Esc, deployment_id: str, tenant: Tenant, model: Datamodel) -> Deployment:
    incarnation = esc.world.incarnations.get(deployment_id, 0) + 1
    vim = esc.vim_of(tenant, model.vim_id)
    return Deployment(esc.source, tenant, vim, model.name, deployment_id, uuid_of(esc.rng), incarnation)


def _make_networks(esc: Esc, placed: Placed) -> list[Resource]:
    """What the deployment brings with it: a network, and its subnet if it names one."""
    found: list[Resource] = []
    tenant = placed.deployment.tenant
    for wanted in placed.model.networks[:1]:
        for kind, name in (("network", wanted.name), ("subnet", wanted.subnet)):
            if not name:
                continue
            thing_id = f"{placed.id}-{name}"[-72:]
            values = defaults(kind, tenant, thing_id, esc.rng) | {"name": name, "internal_deployment_id": placed.id}
            if kind == "subnet":
                values |= {
                    f"{side}_network_id": found[0].values[f"{side}_network_id"] for side in ("internal", "external")
                }
            thing = Thing(kind, thing_id, tenant.internal_id, values, "CREATED")
            esc.world.put(thing)
            placed.networks.append((kind, thing_id))
            found.append(_ephemeral(thing))
    return found


def _ephemeral(thing: Thing) -> Resource:
    return replace(as_resource(thing), ephemeral=True)


def _with_new_groups(before: Datamodel, after: Datamodel) -> Datamodel:
    """The times of what is added are needed while the update goes on."""
    known = {group.name for group in before.groups}
    return replace(before, groups=(*before.groups, *(group for group in after.groups if group.name not in known)))


def _there(esc: Esc, call: Call) -> Placed:
    return esc.deployment(call.path["internal_deployment_id"])


def _require_same(esc: Esc, placed: Placed, model: Datamodel) -> None:
    """An update is of a deployment that is up, and leaves it its name and its tenant."""
    if model.name != placed.deployment.name:
        raise invalid(f"the deployment's name is {placed.deployment.name!r}, and {model.name!r} in the body")
    if esc.tenant(model.tenant).internal_id != placed.deployment.tenant.internal_id:
        raise invalid(f"the deployment belongs to tenant {placed.model.tenant!r}, and not to {model.tenant!r}")
    if placed.deployment.state == "ERROR":
        raise conflict(f"deployment {placed.id!r} is in error: a deploy or a recovery failed; it must be undeployed")
    if placed.deployment.state != "ACTIVE":
        raise conflict(f"deployment {placed.id!r} is {placed.deployment.state or 'DEPLOYING'}")


def _model(call: Call) -> Datamodel:
    try:
        return read_datamodel(call.body.fields)
    except BodyError as error:
        raise invalid(f"esc_datamodel: {error}") from error


HANDLERS: Mapping[str, Callable[[Esc, Call], Reply]] = {
    one.__name__: one
    for one in (
        list_deployments,
        get_deployment,
        get_deployment_config,
        deploy,
        update,
        undeploy,
        service_operation,
    )
}
