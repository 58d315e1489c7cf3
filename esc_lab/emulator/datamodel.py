"""Reads an `esc_datamodel` (docs/esc-callbacks.md#S, chapter 06) as far as it decides which VMs come, how many, watched
or not, and when.

Everything else in it is kept as it came. Raises BodyError naming the element that is wrong. This file must not know
what is done with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Literal

from esc_lab.emulator.body_schemas import BodyError

BOOTUP_S = 120.0
"""When the model does not say how long a VM may take to answer."""
REBOOT_S = 60.0
SECONDS_MAX = 1_000_000
ALIVE_EVENT = "VM_ALIVE"
VMS_MAX = 1000
"""Of one group."""

RecoveryType = Literal["AUTO", "MANUAL"]
RecoveryAction = Literal["REBOOT_THEN_REDEPLOY", "REBOOT_ONLY", "REDEPLOY_ONLY"]
_ACTIONS: tuple[RecoveryAction, ...] = ("REBOOT_THEN_REDEPLOY", "REBOOT_ONLY", "REDEPLOY_ONLY")


@dataclass(frozen=True, slots=True)
class Interface:
    """One NIC of every VM of a group."""

    nic_id: int
    network: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """One `vm_group`. Times in seconds, unscaled."""

    name: str
    interfaces: tuple[Interface, ...]
    min_active: int = 1
    max_active: int = 1
    is_watched: bool = False
    """It has a KPI for VM_ALIVE and a rule for it."""
    bootup_s: float = BOOTUP_S
    reboot_s: float = REBOOT_S
    recovery_wait_s: float = 0.0
    recovery_type: RecoveryType = "AUTO"
    recovery_action: RecoveryAction = "REBOOT_THEN_REDEPLOY"
    host: str = ""
    """Where all its VMs go; empty: anywhere."""
    addresses: tuple[tuple[str, str], ...] = ()
    """Static addresses: network and address, one for each VM in turn."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network that comes and goes with the deployment."""

    name: str
    subnet: str = ""


@dataclass(frozen=True, slots=True)
class Datamodel:
    """One deployment of one tenant."""

    tenant: str
    name: str
    groups: tuple[Group, ...]
    networks: tuple[Network, ...] = ()
    vim_id: str = ""


def read_datamodel(fields: Mapping[str, Any]) -> Datamodel:
    """`fields`: the body below its root."""
    tenant = _only(fields, "tenants/tenant")
    deployment = _only(tenant, "deployments/deployment")
    groups = tuple(_group(one) for one in _many(deployment, "vm_group"))
    if not groups:
        raise BodyError("deployment has no vm_group")
    _no_repeat((group.name for group in groups), "vm_group")
    return Datamodel(
        _text(tenant, "name", "tenant"),
        _text(deployment, "name", "deployment"),
        groups,
        tuple(_network(one) for one in _many(_inner(deployment, "networks"), "network")),
        _optional(_inner(deployment, "locator") or _inner(tenant, "vim_mapping"), "vim_id"),
    )


def _group(fields: Mapping[str, Any]) -> Group:
    name = _text(fields, "name", "vm_group")
    where = f"vm_group {name}"
    _text(fields, "image", where)
    interfaces = tuple(_interface(one, where) for one in _many(_inner(fields, "interfaces"), "interface"))
    _no_repeat((one.nic_id for one in interfaces), f"nicid in {where}")
    scaling = _inner(fields, "scaling")
    low = _whole(scaling, "min_active", where, 1, least=0, most=VMS_MAX)
    high = _whole(scaling, "max_active", where, max(low, 1), least=0, most=VMS_MAX)
    if low > high:
        raise BodyError(f"{where}: min_active is {low}, which is more than max_active, {high}")
    _check_volumes(fields, where)
    _check_configuration(fields, where)
    policy = _inner(fields, "recovery_policy")
    return Group(
        name,
        interfaces,
        low,
        high,
        _is_watched(fields, {one.nic_id for one in interfaces}, where),
        _whole(fields, "bootup_time", where, int(BOOTUP_S)),
        _whole(fields, "reboot_time", where, int(REBOOT_S)),
        _whole(fields, "recovery_wait_time", where, 0),
        "MANUAL" if _word(policy, "recovery_type", where, ("AUTO", "MANUAL")) == "MANUAL" else "AUTO",
        next((a for a in _ACTIONS if a == _word(policy, "action_on_recovery", where, _ACTIONS)), _ACTIONS[0]),
        _host(fields, where),
        _pool(scaling, where),
    )


def _interface(fields: Mapping[str, Any], where: str) -> Interface:
    if "nicid" not in fields:
        raise BodyError(f"{where}: an interface lacks nicid")
    nic_id = _whole(fields, "nicid", where, 0)
    network = _text(fields, "network", f"{where}, interface {nic_id}")
    return Interface(nic_id, network, _address(fields, where))


def _is_watched(fields: Mapping[str, Any], nic_ids: set[int], where: str) -> bool:
    """Rules act on the events of KPIs; the VM_ALIVE of a KPI is what makes a VM "monitorable"
    (docs/esc-callbacks.md#S, chapter 06)."""
    events = set()
    for kpi in _many(_inner(fields, "kpi_data"), "kpi"):
        event = _text(kpi, "event_name", f"{where}, kpi")
        events.add(event)
        collector = _inner(kpi, "metric_collector")
        if "nicid" in collector and _whole(collector, "nicid", where, 0) not in nic_ids:
            raise BodyError(f"{where}: kpi {event} watches nicid {collector['nicid']}, and no interface has it")
    ruled = {_text(rule, "event_name", f"{where}, rule") for rule in _rules(fields)}
    if ruled - events:
        raise BodyError(f"{where}: a rule is about {', '.join(sorted(ruled - events))}, and no kpi is")
    return ALIVE_EVENT in events & ruled


def referenced(fields: Mapping[str, Any]) -> set[str]:
    """Words of all rules' actions and types of all collectors: the dynamic mappings that a model uses."""
    found: set[str] = set()
    for tenant in _many(_inner(fields, "tenants"), "tenant"):
        for deployment in _many(_inner(tenant, "deployments"), "deployment"):
            for group in _many(deployment, "vm_group"):
                for rule in _rules(group):
                    actions = rule.get("action", [])
                    for action in actions if isinstance(actions, list) else [actions]:
                        found.update(str(action).strip('"').split())
                for kpi in _many(_inner(group, "kpi_data"), "kpi"):
                    found.add(_optional(_inner(kpi, "metric_collector"), "type"))
    return found


def _rules(fields: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return _many(_inner(_inner(fields, "rules"), "admin_rules"), "rule")


def _network(fields: Mapping[str, Any]) -> Network:
    return Network(_text(fields, "name", "network"), _optional(_inner(fields, "subnet"), "name"))


def _host(fields: Mapping[str, Any], where: str) -> str:
    """Of the first placement that names one; those that name zones or groups leave the host open."""
    placements = _many(fields, "placement")
    for placement in placements:
        _text(placement, "type", f"{where}, placement")
    return next((host for one in placements if (host := _optional(one, "host"))), "")


def _pool(scaling: Mapping[str, Any], where: str) -> tuple[tuple[str, str], ...]:
    pools = _many(scaling, "static_ip_address_pool")
    return tuple(
        (_optional(pool, "network"), _checked_address(one, where))
        for pool in pools
        for one in _texts(pool, "ip_address")
    )


def _check_volumes(fields: Mapping[str, Any], where: str) -> None:
    for volume in _many(_inner(fields, "volumes"), "volume"):
        _text(volume, "name", f"{where}, volume")
        _whole(volume, "volid", where, 0)


def _check_configuration(fields: Mapping[str, Any], where: str) -> None:
    for one in _many(_inner(fields, "config_data"), "configuration"):
        dst = _text(one, "dst", f"{where}, configuration")
        if not ("file" in one or "data" in one):
            raise BodyError(f"{where}: configuration {dst} has neither file nor data")


# Reading.


def _only(fields: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    outer, _, inner = path.partition("/")
    found = _many(_inner(fields, outer), inner)
    if len(found) != 1:
        raise BodyError(f"there should be one {path}, and there {'are' if found else 'is'} {len(found) or 'none'}")
    return found[0]


def _inner(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = fields.get(name)
    if isinstance(found, list):
        raise BodyError(f"{name} is there {len(found)} times, and should be once")
    return found if isinstance(found, dict) else {}


def _many(fields: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = fields.get(name, [])
    many = found if isinstance(found, list) else [found]
    if not all(isinstance(one, dict) for one in many):
        raise BodyError(f"{name} should hold elements")
    return many


def _texts(fields: Mapping[str, Any], name: str) -> list[str]:
    found = fields.get(name, [])
    return [str(one) for one in (found if isinstance(found, list) else [found])]


def _optional(fields: Mapping[str, Any], name: str) -> str:
    found = fields.get(name, "")
    return found if isinstance(found, str) else ""


def _text(fields: Mapping[str, Any], name: str, where: str) -> str:
    found = fields.get(name)
    if isinstance(found, list):
        raise BodyError(f"{where}: {name} is there {len(found)} times, and should be once")
    if not isinstance(found, str | int) or isinstance(found, bool) or not 1 <= len(str(found)) <= 255:
        raise BodyError(f"{where} lacks {name}, a text of 1 to 255 characters")
    return str(found)


def _whole(
    fields: Mapping[str, Any], name: str, where: str, default: int, *, least: int = 0, most: int = SECONDS_MAX
) -> int:
    given = fields.get(name, default)
    text = str(given)
    if isinstance(given, bool) or not (text.isascii() and text.isdecimal()) or not least <= int(text) <= most:
        raise BodyError(f"{where}: {name} is {text[:40]!r}, and should be a whole number from {least} to {most}")
    return int(text)


def _word(fields: Mapping[str, Any], name: str, where: str, words: tuple[str, ...]) -> str:
    found = _optional(fields, name)
    if found and found not in words:
        raise BodyError(f"{where}: {name} is {found!r}, and should be one of {', '.join(words)}")
    return found


def _address(fields: Mapping[str, Any], where: str) -> str:
    found = _optional(fields, "ip_address")
    return _checked_address(found, where) if found else ""


def _checked_address(text: str, where: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise BodyError(f"{where}: {text!r} is no IP address") from error


def _no_repeat(names: Iterable[Any], what: str) -> None:
    seen: set[Any] = set()
    for name in names:
        if name in seen:
            raise BodyError(f"{what} {name} is there twice")
        seen.add(name)
