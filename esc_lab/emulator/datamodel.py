"""Reads an `esc_datamodel` (docs/esc-callbacks.md#S, chapter 06) as far as it decides which VMs a deployment has, how
many, monitored or not, and how long they take.

Everything else in it is ignored. Raises BodyError naming the element that is wrong. This file must not know what is
done with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from esc_lab.emulator.addresses import network_of, subnet_addresses
from esc_lab.emulator.body_schemas import BodyError
from esc_lab.emulator.datamodel_elements import (
    Address,
    Count,
    Element,
    Seconds,
    Text,
    exactly_one,
    list_in,
    require_unique,
)

ALIVE_EVENT = "VM_ALIVE"
CONDITIONS = frozenset({"ALWAYS", "TRUE", "FALSE"})
"""When a rule's action is taken: the first word of it."""


class Interface(Element):
    """One NIC of every VM of a group."""

    nicid: Seconds
    network: Text
    ip_address: Address = ""


class _Collector(Element):
    nicid: int | None = None
    type: str = ""


class _Kpi(Element):
    event_name: Text
    metric_collector: _Collector = _Collector()


class _Rule(Element):
    event_name: Text
    action: Annotated[tuple[str, ...], list_in()] = ()


class _AddressPool(Element):
    network: str = ""
    ip_address: Annotated[tuple[Address, ...], list_in()] = ()


class _Scaling(Element):
    min_active: Count = 1
    max_active: Count = Field(default_factory=lambda earlier: max(earlier.get("min_active", 1), 1))
    static_ip_address_pool: Annotated[tuple[_AddressPool, ...], list_in()] = ()

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.min_active > self.max_active:
            raise ValueError(f"min_active is {self.min_active}, which is more than max_active, {self.max_active}")
        return self


class _RecoveryPolicy(Element):
    recovery_type: Literal["AUTO", "MANUAL"] = "AUTO"
    action_on_recovery: Literal["REBOOT_THEN_REDEPLOY", "REBOOT_ONLY", "REDEPLOY_ONLY"] = "REBOOT_THEN_REDEPLOY"


class _Placement(Element):
    type: Text
    host: str = ""


class _Volume(Element):
    name: Text
    volid: Seconds = 0


class _Configuration(Element):
    dst: Text
    file: Any = None
    data: Any = None

    @model_validator(mode="after")
    def _check_content(self) -> Self:
        if not {"file", "data"} & self.model_fields_set:
            raise ValueError(f"configuration {self.dst} has neither file nor data")
        return self


class Group(Element):
    """One `vm_group`. Times in seconds, unscaled."""

    name: Text
    image: Text
    interfaces: Annotated[tuple[Interface, ...], list_in("interface")] = ()
    scaling: _Scaling = _Scaling()
    bootup_time: Seconds = 120
    reboot_time: Seconds = 60
    recovery_wait_time: Seconds = 0
    recovery_policy: _RecoveryPolicy = _RecoveryPolicy()
    placement: Annotated[tuple[_Placement, ...], list_in()] = ()
    kpi_data: Annotated[tuple[_Kpi, ...], list_in("kpi")] = ()
    rules: Annotated[tuple[_Rule, ...], list_in("admin_rules", "rule")] = ()
    volumes: Annotated[tuple[_Volume, ...], list_in("volume")] = ()
    config_data: Annotated[tuple[_Configuration, ...], list_in("configuration")] = ()

    @property
    def host(self) -> str:
        """Where all its VMs go: the first host that a placement names; empty: anywhere."""
        return next((one.host for one in self.placement if one.host), "")

    @property
    def is_monitored(self) -> bool:
        """Whether it has a KPI for VM_ALIVE, and a rule that acts on it."""
        return ALIVE_EVENT in {one.event_name for one in self.kpi_data} & {one.event_name for one in self.rules}

    @model_validator(mode="after")
    def _check(self) -> Self:
        nic_ids = {one.nicid for one in self.interfaces}
        require_unique((one.nicid for one in self.interfaces), "nicid")
        for kpi in self.kpi_data:
            if kpi.metric_collector.nicid not in {None, *nic_ids}:
                watched = f"kpi {kpi.event_name} watches nicid {kpi.metric_collector.nicid}"
                raise ValueError(f"{watched}, and no interface has it")
        if odd := {one.event_name for one in self.rules} - {one.event_name for one in self.kpi_data}:
            raise ValueError(f"a rule is about {', '.join(sorted(odd))}, and no kpi is")
        return self


class Subnet(Element):
    """A subnet of such a network."""

    name: Text
    cidr: str = ""
    address: Address = ""
    netmask: str = ""
    gateway: Address = ""
    dhcp: bool = True

    @property
    def values(self) -> dict[str, Any]:
        """The fields of chapter 03 that it gives."""
        cidr = self.cidr or (self.address and str(network_of(self.address, self.netmask)))
        given = {"name": self.name, "cidr": cidr, "gateway_ip": self.gateway, "enable_dhcp": self.dhcp}
        return {name: value for name, value in given.items() if value != ""}

    @model_validator(mode="after")
    def _check(self) -> Self:
        subnet_addresses(self.values, {})
        return self


class Network(Element):
    """A network that is created and deleted with the deployment; its own fields are those of chapter 02."""

    model_config = ConfigDict(extra="allow")

    name: Text
    subnet: Annotated[tuple[Subnet, ...], list_in()] = ()

    @property
    def own(self) -> dict[str, Any]:
        """Its fields but for the subnets."""
        return {"name": self.name, **(self.model_extra or {})}

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_unique((one.name for one in self.subnet), f"network {self.name}: subnet")
        return self


class _Locator(Element):
    vim_id: str = ""


class _Deployment(Element):
    name: Text
    vm_group: Annotated[tuple[Group, ...], list_in()] = ()
    networks: Annotated[tuple[Network, ...], list_in("network")] = ()
    locator: _Locator = _Locator()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.vm_group:
            raise ValueError("deployment has no vm_group")
        require_unique((group.name for group in self.vm_group), "vm_group")
        require_unique((network.name for network in self.networks), "network")
        return self


class _Tenant(Element):
    name: Text
    deployments: Annotated[tuple[_Deployment, ...], exactly_one("deployments/deployment"), list_in("deployment")] = (
        Field((), validate_default=True)
    )
    vim_mapping: _Locator = _Locator()


class _Root(Element):
    tenants: Annotated[tuple[_Tenant, ...], exactly_one("tenants/tenant"), list_in("tenant")]


@dataclass(frozen=True, slots=True)
class Datamodel:
    """One deployment of one tenant."""

    tenant: str
    name: str
    groups: tuple[Group, ...]
    networks: tuple[Network, ...] = ()
    vim_id: str = ""

    @property
    def actions(self) -> set[str]:
        """The dynamic mapping actions that its rules name, each after the word that says when."""
        actions = (action.strip('"').split() for group in self.groups for rule in group.rules for action in rule.action)
        named = (words[1:] if words and words[0].upper() in CONDITIONS else words for words in actions)
        return {words[0] if words else "" for words in named}

    @property
    def metrics(self) -> set[str]:
        """The dynamic mapping metrics that its KPIs collect."""
        return {kpi.metric_collector.type for group in self.groups for kpi in group.kpi_data} - {""}


def read_datamodel(fields: Mapping[str, Any]) -> Datamodel:
    """`fields`: the body below its root."""
    try:
        (tenant,) = _Root.model_validate(fields).tenants
    except ValidationError as error:
        raise BodyError(_first_fault(error)) from error
    (deployment,) = tenant.deployments
    vim_id = deployment.locator.vim_id or tenant.vim_mapping.vim_id
    return Datamodel(tenant.name, deployment.name, deployment.vm_group, deployment.networks, vim_id)


def _first_fault(error: ValidationError) -> str:
    """The first fault in words: which element, what it holds, what it should hold."""
    fault = error.errors(include_url=False)[0]
    *path, name = fault["loc"]
    if fault["type"] == "missing":
        element = next((part.removesuffix("s") for part in reversed(path) if isinstance(part, str)), "esc_datamodel")
        return " ".join(filter(None, (element, str(fault["input"].get("name", "")), "lacks", str(name))))
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    return f"{'/'.join(map(str, path))}: {name} is {str(fault['input'])[:40]!r}: {fault['msg']}"
