"""Reads an `esc_datamodel` (docs/esc-callbacks.md#S, chapter 06) as far as it decides which VMs a deployment has, how
many, monitored or not, and how long they take.

Everything else in it is ignored. Raises BodyError naming the element that is wrong. This file must not know what is
done with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from esc_lab.emulator.addresses import network_of, subnet_addresses
from esc_lab.emulator.body_schemas import BodyError

ALIVE_EVENT = "VM_ALIVE"
VMS_MAX = 1000
"""Of one group."""
SECONDS_MAX = 1_000_000


def _list_in(*path: str) -> BeforeValidator:
    """A repeated element, perhaps inside others that only hold it; a single one is a list of one."""

    def unwrap(given: Any) -> Any:
        for name in path:
            given = given.get(name, ()) if isinstance(given, Mapping) else ()
        return given if isinstance(given, list | tuple) else [given]

    return BeforeValidator(unwrap)


def _one(what: str) -> BeforeValidator:
    """To be placed before `_list_in`: of several, the last validator is the first to run."""

    def check(found: Sequence[Any]) -> Any:
        if len(found) != 1:
            raise ValueError(f"there should be one {what}, and there {'are' if found else 'is'} {len(found) or 'none'}")
        return found

    return BeforeValidator(check)


def _address(text: str) -> str:
    try:
        return text and str(ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is no IP address") from None


def _require_unique(values: Iterable[Any], what: str) -> None:
    for value, times in Counter(values).items():
        if times > 1:
            raise ValueError(f"{what} {value} is there twice")


Text = Annotated[str, Field(min_length=1, max_length=255)]
Address = Annotated[str, AfterValidator(_address)]
Seconds = Annotated[int, Field(ge=0, le=SECONDS_MAX)]
Count = Annotated[int, Field(ge=0, le=VMS_MAX)]


class _Element(BaseModel):
    """An XML element: numbers may be texts and texts numbers, unknown elements are ignored, an empty one has none."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _fields(cls, given: Any) -> Any:
        if isinstance(given, list):
            raise ValueError(f"the element is there {len(given)} times, and should be once")  # noqa: TRY004 -- pydantic's
        return given if isinstance(given, Mapping) else {}


class Interface(_Element):
    """One NIC of every VM of a group."""

    nicid: Seconds
    network: Text
    ip_address: Address = ""


class _Collector(_Element):
    nicid: int | None = None
    type: str = ""


class _Kpi(_Element):
    event_name: Text
    metric_collector: _Collector = _Collector()


class _Rule(_Element):
    event_name: Text
    action: Annotated[tuple[str, ...], _list_in()] = ()


class _AddressPool(_Element):
    network: str = ""
    ip_address: Annotated[tuple[Address, ...], _list_in()] = ()


class _Scaling(_Element):
    min_active: Count = 1
    max_active: Count = Field(default_factory=lambda earlier: max(earlier.get("min_active", 1), 1))
    static_ip_address_pool: Annotated[tuple[_AddressPool, ...], _list_in()] = ()

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.min_active > self.max_active:
            raise ValueError(f"min_active is {self.min_active}, which is more than max_active, {self.max_active}")
        return self


class _RecoveryPolicy(_Element):
    recovery_type: Literal["AUTO", "MANUAL"] = "AUTO"
    action_on_recovery: Literal["REBOOT_THEN_REDEPLOY", "REBOOT_ONLY", "REDEPLOY_ONLY"] = "REBOOT_THEN_REDEPLOY"


class _Placement(_Element):
    type: Text
    host: str = ""


class _Volume(_Element):
    name: Text
    volid: Seconds = 0


class _Configuration(_Element):
    dst: Text
    file: Any = None
    data: Any = None

    @model_validator(mode="after")
    def _check_content(self) -> Self:
        if not {"file", "data"} & self.model_fields_set:
            raise ValueError(f"configuration {self.dst} has neither file nor data")
        return self


class Group(_Element):
    """One `vm_group`. Times in seconds, unscaled."""

    name: Text
    image: Text
    interfaces: Annotated[tuple[Interface, ...], _list_in("interface")] = ()
    scaling: _Scaling = _Scaling()
    bootup_time: Seconds = 120
    reboot_time: Seconds = 60
    recovery_wait_time: Seconds = 0
    recovery_policy: _RecoveryPolicy = _RecoveryPolicy()
    placement: Annotated[tuple[_Placement, ...], _list_in()] = ()
    kpi_data: Annotated[tuple[_Kpi, ...], _list_in("kpi")] = ()
    rules: Annotated[tuple[_Rule, ...], _list_in("admin_rules", "rule")] = ()
    volumes: Annotated[tuple[_Volume, ...], _list_in("volume")] = ()
    config_data: Annotated[tuple[_Configuration, ...], _list_in("configuration")] = ()

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
        _require_unique((one.nicid for one in self.interfaces), "nicid")
        for kpi in self.kpi_data:
            if kpi.metric_collector.nicid not in {None, *nic_ids}:
                watched = f"kpi {kpi.event_name} watches nicid {kpi.metric_collector.nicid}"
                raise ValueError(f"{watched}, and no interface has it")
        if odd := {one.event_name for one in self.rules} - {one.event_name for one in self.kpi_data}:
            raise ValueError(f"a rule is about {', '.join(sorted(odd))}, and no kpi is")
        return self


class Subnet(_Element):
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


class Network(_Element):
    """A network that is created and deleted with the deployment; its own fields are those of chapter 02."""

    model_config = ConfigDict(extra="allow")

    name: Text
    subnet: Annotated[tuple[Subnet, ...], _list_in()] = ()

    @property
    def own(self) -> dict[str, Any]:
        """Its fields but for the subnets."""
        return {"name": self.name, **(self.model_extra or {})}

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require_unique((one.name for one in self.subnet), f"network {self.name}: subnet")
        return self


class _Locator(_Element):
    vim_id: str = ""


class _Deployment(_Element):
    name: Text
    vm_group: Annotated[tuple[Group, ...], _list_in()] = ()
    networks: Annotated[tuple[Network, ...], _list_in("network")] = ()
    locator: _Locator = _Locator()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.vm_group:
            raise ValueError("deployment has no vm_group")
        _require_unique((group.name for group in self.vm_group), "vm_group")
        _require_unique((network.name for network in self.networks), "network")
        return self


class _Tenant(_Element):
    name: Text
    deployments: Annotated[tuple[_Deployment, ...], _one("deployments/deployment"), _list_in("deployment")] = Field(
        (), validate_default=True
    )
    vim_mapping: _Locator = _Locator()


class _Root(_Element):
    tenants: Annotated[tuple[_Tenant, ...], _one("tenants/tenant"), _list_in("tenant")]


@dataclass(frozen=True, slots=True)
class Datamodel:
    """One deployment of one tenant."""

    tenant: str
    name: str
    groups: tuple[Group, ...]
    networks: tuple[Network, ...] = ()
    vim_id: str = ""

    @property
    def mappings(self) -> set[str]:
        """The dynamic mappings in use: the words of all rules' actions, and the types of all collectors."""
        actions = (action for group in self.groups for rule in group.rules for action in rule.action)
        words = {word for action in actions for word in action.strip('"').split()}
        return words | {kpi.metric_collector.type for group in self.groups for kpi in group.kpi_data}


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
