"""What a callback says: every sample as its index has it, every trap of docs/esc-callbacks.md#7, and nothing
guessed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.errors import NotXmlError
from receiver.model.entities import DeploymentState, VmState
from receiver.model.envelope import ID_BYTES_MAX
from receiver.model.notification import Channel, Family, Notification, Status, VmReport
from receiver.parsing.parser import channel_of, fingerprint, parse
from receiver.parsing.vocabulary import LIFECYCLE_TRIGGERS, RESOURCE_EVENTS, TRIGGERS
from receiver.parsing.xml_document import LARGE_BYTES
from tests.support.samples import MALFORMED, SAMPLES, WELL_FORMED, Sample, envelope, envelope_of

DEPTH_MAX = 64
UPDATED = "VM has been updated successfully. vm: VM ID: [x]"


def read(name: str) -> Notification:
    """A sample, read."""
    return parse(envelope_of(SAMPLES[name]), DEPTH_MAX)


def told(body: str, **changed: object) -> Notification:
    """A body, read; `changed` takes the place of the envelope's fields."""
    return parse(envelope(body.encode(), None, **changed), DEPTH_MAX)


def event(inside: str, name: str = "VM_ALIVE") -> str:
    """The body of an event."""
    return f"<esc_event><event_type>{name}</event_type>{inside}</esc_event>"


def stage(inside: str, name: str = "VM_ALIVE") -> str:
    """The body of a deployment stage."""
    return f"<deployment><deployment_stage>{name}</deployment_stage>{inside}</deployment>"


def vm_of(inside: str) -> VmReport:
    """A VM block, read."""
    vm = told(event(f"<vm_source><vm_name>v</vm_name>{inside}</vm_source>")).vm
    assert vm
    return vm


def nics(inside: str) -> list[dict[str, Any]]:
    """The interfaces in a VM block."""
    return [dict(nic) for nic in vm_of(inside).interfaces]


def texts(value: object) -> Iterator[str]:
    """Every text in plain values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from (name, *texts(inner))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)


def check(notification: Notification) -> None:
    """What holds of whatever arrives: a known trigger or a reason, and nothing that cannot be stored or found again."""
    n = notification
    assert (n.trigger is None) == bool(n.unclassified_because)
    assert n.trigger is None or n.trigger in TRIGGERS
    assert (n.family is Family.RESOURCE) or n.resource is None
    assert n.vm is None or n.vm.state is None or n.vm.state in VmState.__members__
    assert n.deployment is None or n.deployment.state is None or n.deployment.state in DeploymentState.__members__
    ids = [n.deployment and n.deployment.internal_id, n.resource and n.resource.id]
    ids += [name for side in (n.vm, n.target) if side for name in (side.name, side.uuid)]
    assert all(len(one.encode()) <= ID_BYTES_MAX for one in ids if one)
    found = [n.root, n.raw_trigger, n.unclassified_because]
    found += [text for part in (n.deployment, n.vm, n.target, n.resource) if part for text in texts(plain(part))]
    assert not any("\0" in text for text in found if text)
    assert len(orjson.dumps([plain(part) for part in (n.deployment, n.vm, n.target, n.resource) if part])) < 512 * 1024
    assert len(n.fingerprint) == 16


def plain(report: Any) -> dict[str, Any]:
    """A report's fields; `asdict` cannot copy a read-only mapping."""
    return {name: unfrozen(getattr(report, name)) for name in report.__dataclass_fields__}


def unfrozen(value: Any) -> Any:
    """Without read-only mappings."""
    if isinstance(value, Mapping):
        return {name: unfrozen(inner) for name, inner in value.items()}
    return [unfrozen(inner) for inner in value] if isinstance(value, list | tuple) else value


# --- the samples ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", WELL_FORMED, ids=lambda sample: sample.name)
def test_every_sample_says_what_the_index_says(sample: Sample) -> None:
    """Its family by its root, its stage or event as it is spelled, its status from the headers."""
    notification = parse(envelope_of(sample), DEPTH_MAX)
    check(notification)
    family = {"deployment": Family.DEPLOYMENT, "esc_event": Family.VM_EVENT}.get(sample.family, Family.UNKNOWN)
    assert notification.family is (Family.RESOURCE if sample.family in RESOURCE_EVENTS else family)
    assert (notification.raw_trigger or "").upper() == sample.event
    by_message = "VM_UPDATED" if (notification.status_message or "").startswith("VM has been updated") else None
    assert notification.trigger == ((by_message or sample.event) if sample.event in TRIGGERS else None)


@pytest.mark.parametrize("sample", MALFORMED, ids=lambda sample: sample.name)
def test_every_malformed_sample_is_refused(sample: Sample) -> None:
    """With the one error that parse may raise."""
    with pytest.raises(NotXmlError):
        parse(envelope_of(sample), DEPTH_MAX)


def test_a_body_that_could_not_be_decoded_is_refused_with_its_reason() -> None:
    """The bytes are not looked at: they are not the document."""
    with pytest.raises(NotXmlError, match=r"^corrupt gzip$"):
        parse(envelope(b"<a/>", undecodable_because="corrupt gzip"), DEPTH_MAX)


def test_a_deploy_stage_in_full() -> None:
    """The printed example of a deployment, field by field."""
    notification = read("seed-04-deploy-vm-deployed")
    assert (notification.trigger, notification.status, notification.status_code) == ("VM_DEPLOYED", Status.OK, 200)
    assert notification.deployment
    assert notification.vm
    assert plain(notification.deployment) == {
        "internal_id": "my_dep_id",
        "external_id": "8d084aab-6a66-4a70-8f47-42b91f7477ac",
        "name": "MyDemoDepName",
        "internal_tenant_id": "SystemAdminTenantId",
        "external_tenant_id": "SystemAdminTenantId",
        "state": "DEPLOYING",
        "raw_state": "SERVICE_DEPLOYING_STATE",
        "extra": {},
        "is_looked_up": False,
    }
    assert (notification.vm.state, notification.vm.raw_state) == ("INERT", "VM_INERT_STATE")
    assert notification.vm.group
    assert notification.vm.uuid
    assert notification.target is None
    assert notification.resource is None


def test_a_recovery_names_both_sides() -> None:
    """The old instance in `vm_source`, the new one in `vm_target`; an event reports no state."""
    notification = read("rec-recovery-04-deployed")
    assert notification.vm
    assert notification.target
    assert (notification.vm.name, notification.vm.uuid) == (
        "depzz_g1_0_50521f93-7374-4881-960b-95aa13d55ddf",
        "1dd943b9-93a4-4987-b26b-1b8fd264774d",
    )
    assert (notification.target.name, notification.target.uuid) == (
        notification.vm.name,
        "22d210a1-15e1-4e2b-a7a9-9796ec7b259c",
    )
    assert notification.target.interfaces[0]["ip_address"] == "192.168.0.75"
    assert notification.vm.state is notification.vm.raw_state is None


def test_an_empty_side_is_no_vm() -> None:
    """A failed operation may name no VM at all (docs/esc-callbacks.md#trap-7)."""
    notification = read("rec-vm-stop-fail-no-vm")
    assert notification.vm is notification.target is None
    assert notification.status is Status.FAILED
    assert read("rec-recovery-01-init").target is None


PRINTED = [sample for sample in WELL_FORMED if sample.name.endswith(".printed")]
NOISY = {"mac_address", "network_uuid"}


def meaning(notification: Notification) -> dict[str, Any]:
    """All but what the printed examples garble in their values (docs/esc-callbacks.md#8)."""
    n = notification
    assert n.deployment
    assert n.vm
    interfaces = tuple({name: text for name, text in nic.items() if name not in NOISY} for nic in n.vm.interfaces)
    return asdict(
        replace(
            n,
            deployment=replace(n.deployment, external_id=None, raw_state=None, extra=dict(n.deployment.extra)),
            vm=replace(n.vm, interfaces=interfaces, raw_state=None, host_uuid=None, group=None, extra=dict(n.vm.extra)),
            status_message=None,
            event=dict(n.event),
            fingerprint="",
        )
    )


@pytest.mark.parametrize("sample", PRINTED, ids=lambda sample: sample.name)
def test_noise_of_the_printed_examples_changes_no_meaning(sample: Sample) -> None:
    """As printed and as repaired, an example says the same (docs/esc-callbacks.md#8)."""
    assert meaning(read(sample.name)) == meaning(read(sample.name.removesuffix(".printed")))


TOLERATED = [
    sample.name
    for sample in WELL_FORMED
    if sample.name.startswith(("tol-headers", "tol-content", "tol-no-", "tol-prefixed", "tol-esc-", "tol-bom"))
] + ["tol-whitespace-values", "tol-lowercase-values"]


@pytest.mark.parametrize("name", TOLERATED)
def test_spelling_changes_no_meaning(name: str) -> None:
    """Namespaces, encodings, blanks, case and header spellings do not matter."""
    expected, found = read("rec-deploy-02-vm-alive"), read(name)
    assert found.trigger == expected.trigger
    assert found.deployment
    assert expected.deployment
    assert found.vm
    assert expected.vm
    assert replace(found.deployment, raw_state=None) == replace(expected.deployment, raw_state=None)
    assert replace(found.vm, raw_state=None) == replace(expected.vm, raw_state=None)


# --- stages, events and states -------------------------------------------------------------------


@pytest.mark.parametrize("word", sorted(LIFECYCLE_TRIGGERS))
def test_a_stage_and_an_event_mean_the_same(word: str) -> None:
    """Under either root, in any case; but NETCONF's names of VM operations under an event mean REST's
    (docs/esc-callbacks.md#trap-5)."""
    netconf = {"VM_STOPPED": "VM_STOP_COMPLETE", "VM_STARTED": "VM_START_COMPLETE", "VM_REBOOTED": "VM_REBOOT_COMPLETE"}
    for spelled in (word, word.lower(), f"\n {word}\t"):
        assert told(stage("", spelled)).trigger == word
        assert told(f"<deployment><event_type>{spelled}</event_type></deployment>").trigger == word
        assert told(event("", spelled)).trigger == netconf.get(word, word)
        assert told(f"<esc_event><deployment_stage>{spelled}</deployment_stage></esc_event>").trigger == netconf.get(
            word, word
        )
        assert told(f"<esc_event><event><type>{spelled}</type></event></esc_event>").trigger == netconf.get(word, word)
    assert told(event("", word)).raw_trigger == word


@pytest.mark.parametrize("message", [UPDATED, UPDATED.upper(), "  " + UPDATED, "VM has been updated"])
def test_an_update_is_told_by_its_message(message: str) -> None:
    """The printed stage says VM_ALIVE (docs/esc-callbacks.md#trap-1); the stage as it arrived is kept."""
    for body in (stage(""), event("", "vm_alive")):
        notification = told(body, status_message=message)
        assert notification.trigger == "VM_UPDATED"
        assert notification.raw_trigger
        assert notification.raw_trigger.upper() == "VM_ALIVE"


def test_no_other_message_and_no_other_stage_is_branched_on() -> None:
    """Messages are for people (docs/esc-callbacks.md#1)."""
    for message in (None, "", "VM_Alive event received", f"Error Messages: {UPDATED}"):
        assert told(stage(""), status_message=message).trigger == "VM_ALIVE"
    assert told(stage("", "VM_STOPPED"), status_message=UPDATED).trigger == "VM_STOPPED"


@pytest.mark.parametrize(
    ("raw", "vm", "deployment"),
    [
        ("VM_INERT_STATE", "INERT", "INERT"),
        ("VM_INSERT_STATE", "INERT", "INERT"),
        ("SERVICE_INSERT_STATE", "INERT", "INERT"),
        ("service_active_state", None, "ACTIVE"),
        ("SERVICE_ALIVE_STATE", "ALIVE", "ACTIVE"),
        ("VM_SHUTOFF_STATE", "STOPPED", "STOPPED"),
        ("Vm_Shutting_Down_State", "STOPPING", "STOPPING"),
        ("SERVICE_UNDEPLOYED_STATE", "UNDEPLOYED", "UNDEPLOYED"),
        ("ERROR", "ERROR", "ERROR"),
        ("VM_ERROR", "ERROR", "ERROR"),
        ("VM_QUANTUM_STATE", None, None),
        ("VM_UNSEEN_STATE", None, None),
        ("VM_RECOVERING_STATE", None, None),
        ("SERVICE_UNDEF_STATE", "UNSEEN", "UNSEEN"),
        ("VM_MONITOR_UNSET_STATE", "INERT", None),
        ("_STATE", None, None),
    ],
)
def test_reported_states_are_folded(raw: str, vm: str | None, deployment: str | None) -> None:
    """A known one becomes ours, an unknown one none; what arrived is kept (docs/esc-callbacks.md#4.3, #4.4, #6)."""
    notification = told(
        f"<deployment><deployment_details><vm_state_machine_state>{raw}</vm_state_machine_state></deployment_details>"
        f"<internal_deployment_id>d</internal_deployment_id>"
        f"<service_state_machine_state>{raw}</service_state_machine_state></deployment>"
    )
    assert notification.vm
    assert notification.deployment
    assert (notification.vm.state, notification.vm.raw_state) == (vm, raw)
    assert (notification.deployment.state, notification.deployment.raw_state) == (deployment, raw)


@pytest.mark.parametrize(
    ("body", "because"),
    [
        ("<deployment/>", "deployment without deployment_stage: what happened is not said"),
        ("<esc_event><event_type/></esc_event>", "esc_event without event_type: what happened is not said"),
        (event("", "A B"), "event_type A B is not known"),
        (event("", "a\nb"), "event_type a�b is not known"),
        (stage("", "CREATE_IMAGE"), "deployment_stage CREATE_IMAGE is not known"),
        (event("", "x" * 99), f"event_type {'x' * 64}… is not known"),
        ("<widget/>", "the root element widget is not known"),
        ("<Deployment/>", "the root element Deployment is not known"),
        (f"<{'x' * 999}/>", f"the root element {'x' * 64}… is not known"),
        ("<volume><volume_id>v</volume_id></volume>", "volume without event_type: what happened is not said"),
        ("<tenant><event_type>A</event_type><name>t</name></tenant>", "event_type A is not known of tenant"),
        (
            "<image><event_type>DELETE_IMAGE</event_type></image>",
            "image without an id or a name: which one is not said",
        ),
        (
            "<router><name>r</name><interface><event_type>ATTACH_INTERFACE</event_type></interface></router>",
            "router without event_type: what happened is not said",
        ),
    ],
)
def test_what_is_not_known_is_unclassified_with_a_reason(body: str, because: str) -> None:
    """Nothing is guessed; what arrived is shown short and fit to be read."""
    notification = told(body)
    check(notification)
    assert notification.unclassified_because == because


def test_an_unknown_root_keeps_its_event() -> None:
    """For the person who looks at it."""
    notification = read("guess-host-disable")
    assert (notification.family, notification.root, notification.raw_trigger) == (
        Family.UNKNOWN,
        "host_action",
        "HOST_DISABLE",
    )
    assert len(told(f"<{'x' * 999}/>").root) == 128


# --- deployments and VMs -------------------------------------------------------------------------


def test_without_an_internal_id_there_is_no_deployment_but_all_else() -> None:
    """The lifecycle may know it by the transaction."""
    notification = told(
        "<esc_event><event_type>VM_RECOVERY_INIT</event_type><deployment_name>d</deployment_name>"
        "<vm_source><vm_name>v</vm_name></vm_source></esc_event>"
    )
    assert notification.deployment is None
    assert notification.trigger == "VM_RECOVERY_INIT"
    assert notification.vm == VmReport(name="v")


def test_unknown_elements_are_kept_where_they_stood() -> None:
    """Fields drift by release (docs/esc-callbacks.md#trap-11)."""
    notification = told(
        "<deployment><deployment_stage>VM_ALIVE</deployment_stage><internal_deployment_id>d</internal_deployment_id>"
        "<datacenter><default>true</default></datacenter><locator><vim_id>v</vim_id></locator>"
        "<deployment_details><vm_name>n</vm_name><new>1</new><new>2</new></deployment_details></deployment>"
    )
    assert notification.deployment
    assert notification.vm
    assert notification.deployment.extra == {"datacenter": {"default": "true"}, "locator": {"vim_id": "v"}}
    assert notification.vm.extra == {"new": ["1", "2"]}
    assert read("seed-04-deploy-vm-deployed").deployment.extra == {}  # type: ignore[union-attr]  # shown above


def test_what_repeats_or_is_no_text_is_not_lost() -> None:
    """Of several the first counts; all are kept."""
    notification = told(
        "<deployment><deployment_stage>VM_ALIVE</deployment_stage>"
        "<internal_deployment_id>d</internal_deployment_id><internal_deployment_id>e</internal_deployment_id>"
        "<deployment_details><vm_name>v</vm_name></deployment_details>"
        "<deployment_details><vm_name>w</vm_name></deployment_details>"
        "<vm_target>gone</vm_target><deployment_name><a>b</a></deployment_name></deployment>"
    )
    assert notification.deployment
    assert notification.deployment.internal_id == "d"
    assert notification.vm == VmReport(name="v")
    assert notification.target is None
    assert notification.deployment.name is None
    assert notification.deployment.extra == {
        "internal_deployment_id": ["d", "e"],
        "deployment_details": [{"vm_name": "v"}, {"vm_name": "w"}],
        "vm_target": "gone",
        "deployment_name": {"a": "b"},
    }


def test_netconf_names_are_taken_too() -> None:
    """The same workflow under the names of the NETCONF stream (docs/esc-callbacks.md#3.2)."""
    notification = told(
        "<esc_event><event><type>VM_STOPPED</type></event><internal_deployment_id>d</internal_deployment_id>"
        "<depname>n</depname><depid>e</depid><tenant_id>t</tenant_id><vm_source><vmid>u</vmid><hostid>h</hostid>"
        "<hostname>hn</hostname><vm_group>g</vm_group><interfaces><interface><nicid>0</nicid><port_id>p</port_id>"
        "<network>net</network><subnet>sub</subnet></interface></interfaces></vm_source></esc_event>"
    )
    assert notification.trigger == "VM_STOP_COMPLETE"
    assert notification.deployment
    assert notification.vm
    assert (notification.deployment.name, notification.deployment.external_id) == ("n", "e")
    assert notification.deployment.external_tenant_id == "t"
    vm = notification.vm
    assert (vm.uuid, vm.host_uuid, vm.host_name, vm.group) == ("u", "h", "hn", "g")
    assert vm.interfaces == ({"nic_id": "0", "port_uuid": "p", "network_uuid": "net", "subnet_uuid": "sub"},)


@pytest.mark.parametrize(
    "field",
    [
        *("internal_deployment_id", "vm_name", "vm_uuid", "vm_target", "id", "external_image_id", "name"),
        *("internal_tenant_id", "tenant_of_an_image"),
    ],
)
def test_what_is_named_by_too_much_is_unclassified(field: str) -> None:
    """It could not be indexed, so it could not be found again; one bad row must not sink its neighbours."""
    templates = {
        "vm_name": event("<vm_source><vm_name>{}</vm_name></vm_source>"),
        "vm_uuid": event("<vm_source><vm_uuid>{}</vm_uuid></vm_source>"),
        "vm_target": event("<vm_target><vm_name>{}</vm_name></vm_target>"),
        "internal_deployment_id": stage("<internal_deployment_id>{}</internal_deployment_id>"),
        "internal_tenant_id": stage(
            "<internal_deployment_id>d</internal_deployment_id><internal_tenant_id>{}</internal_tenant_id>"
        ),
        "tenant_of_an_image": "<image><event_type>CREATE_IMAGE</event_type><id>i</id>"
        "<internal_tenant_id>{}</internal_tenant_id></image>",
    }
    resource = f"<image><event_type>CREATE_IMAGE</event_type><{field}>{{}}</{field}></image>"
    template = templates.get(field, resource)
    for longest in ("x" * ID_BYTES_MAX, "é" * (ID_BYTES_MAX // 2)):
        assert told(template.format(longest)).trigger
        notification = told(template.format(longest + "x"))
        assert (notification.trigger, notification.deployment, notification.resource) == (None, None, None)
        assert (notification.vm, notification.target) == (None, None)
        assert str(notification.unclassified_because).endswith(f"is longer than {ID_BYTES_MAX} bytes")


def test_a_large_callback_is_read_by_what_stands_near_its_root() -> None:
    """A note says that something was left out."""
    crowd = "<interface><nic_id>1</nic_id></interface>" * 20_000
    notification = told(
        f"<deployment><deployment_details><interfaces>{crowd}</interfaces><vm_name>v</vm_name></deployment_details>"
        "<deployment_stage>VM_ALIVE</deployment_stage><internal_deployment_id>d</internal_deployment_id></deployment>",
        notes=("earlier",),
    )
    check(notification)
    assert notification.notes == ("earlier", "fields-cut")
    assert notification.trigger == "VM_ALIVE"
    assert notification.deployment
    assert notification.deployment.internal_id == "d"
    assert notification.vm
    assert notification.vm.name == "v"


# --- interfaces ----------------------------------------------------------------------------------


ZERO, ONE = "<nic_id>0</nic_id>", "<nic_id>1</nic_id>"


def wrapped(*nics: str, wrapper: str = "interface") -> str:
    """Each in a wrapper of its own."""
    return "".join(f"<{wrapper}>{nic}</{wrapper}>" for nic in nics)


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (f"<interfaces>{wrapped(ZERO)}</interfaces>", ["0"]),
        (f"<interfaces>{wrapped(ZERO, ONE)}</interfaces>", ["0", "1"]),
        (wrapped(ZERO, wrapper="interfaces"), ["0"]),
        (wrapped(ZERO, ONE, wrapper="interfaces"), ["0", "1"]),
        (wrapped(wrapped(ZERO), ONE, wrapper="interfaces"), ["0", "1"]),
        (wrapped(wrapped(ZERO), wrapped(ONE), wrapper="interfaces"), ["0", "1"]),
        (wrapped(ZERO, ONE), ["0", "1"]),
        (wrapped(wrapped(wrapped(ZERO), wrapper="interfaces"), wrapper="interfaces"), ["0"]),
        (f"<interfaces>{wrapped(ZERO)}{ONE}</interfaces>", ["0", "1"]),
        (f"<interfaces>stray{wrapped(ZERO)}</interfaces>", ["0"]),
        ("<interfaces/>", []),
        ("<interfaces><interface/></interfaces>", []),
        ("<interfaces><interface><nic_id/></interface></interfaces>", []),
    ],
)
def test_interfaces_are_found_however_they_are_wrapped(inside: str, expected: list[str]) -> None:
    """In a wrapper, in two, in none, or both ways at once (docs/esc-callbacks.md#trap-8)."""
    assert [nic["nic_id"] for nic in nics(inside)] == expected
    assert vm_of(inside).extra == {}


@pytest.mark.parametrize("name", ["nic_id", "níc_id", "ni\u0301c_id", "nict_id", "nicid"])
def test_a_nic_id_is_known_in_every_spelling(name: str) -> None:
    """The printed examples have four (docs/esc-callbacks.md#8)."""
    assert nics(f"<interfaces><{name}>7</{name}><type>virtual</type></interfaces>") == [
        {"nic_id": "7", "type": "virtual"}
    ]


def test_what_an_interface_says_besides_is_kept() -> None:
    """Unknown fields stay, empty ones do not, and a taken name is not overwritten."""
    besides = "<nict_id>1</nict_id><speed>10</speed><port_uuid/><network_id>n</network_id>"
    assert nics(
        wrapped(ZERO + besides),
    ) == [{"nic_id": "0", "nict_id": "1", "speed": "10", "network_id": "n"}]
    assert vm_of("<interfaces>none</interfaces>").extra == {"interfaces": "none"}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ("<security_groups>a</security_groups>", ["a"]),
        ("<security_groups>a</security_groups><security_groups>b</security_groups>", ["a", "b"]),
        ("<security_groups><security_group>a</security_group></security_groups>", ["a"]),
        ("<security_groups><x>a</x><x>b</x></security_groups>", ["a", "b"]),
        ("<security_groups><x><id>a</id></x><x><id>b</id></x></security_groups>", [{"id": "a"}, {"id": "b"}]),
        ("<security_groups><id>a</id><name>b</name></security_groups>", [{"id": "a", "name": "b"}]),
    ],
)
def test_security_groups_are_a_list(groups: str, expected: list[object]) -> None:
    """Whether they came as text, repeated, or each in an element of its own."""
    assert nics(f"<interfaces><nic_id>0</nic_id>{groups}</interfaces>") == [
        {"nic_id": "0", "security_groups": expected}
    ]


# --- resources -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "word"), [(kind, event) for kind in RESOURCE_EVENTS for event in sorted(RESOURCE_EVENTS[kind])]
)
def test_every_event_of_a_resource_is_known(kind: str, word: str) -> None:
    """By the id its kind has, else by another; what else it says is kept as attributes."""
    for field in (f"internal_{kind}_id", "id", f"external_{kind}_id", "name"):
        notification = told(
            f"<{kind}><a><b>c</b></a><event_type>{word.lower()}</event_type><{field}>r</{field}></{kind}>"
        )
        check(notification)
        assert notification.trigger == word
        assert notification.raw_trigger == word.lower()
        assert notification.resource
        assert (notification.resource.kind, notification.resource.id) == (kind, "r")
        assert notification.resource.attributes == {"a": {"b": "c"}}


def test_a_resource_in_full() -> None:
    """A network that belongs to a deployment."""
    notification = read("rec-network-create-ephemeral")
    assert notification.resource
    assert plain(notification.resource) == {
        "kind": "network",
        "id": "tttdepzz-eph",
        "external_id": "7af5c7df-6246-4d53-91bd-aa12a1607656",
        "name": "depzz-eph",
        "internal_tenant_id": "ttt",
        "external_tenant_id": "721d0a0aaf5a40299650d4ec74f48f1a",
        "internal_deployment_id": "tttdepzz",
        "attributes": {"admin_state_up": "true", "shared": "false"},
    }


def test_a_tenant_is_its_own_tenant() -> None:
    """Its ids are its tenant ids."""
    resource = read("seed-01-tenant-create").resource
    assert resource
    assert resource.id == resource.internal_tenant_id == "tentest"
    assert resource.external_id == resource.external_tenant_id


@pytest.mark.parametrize(
    ("name", "resource_id"),
    [
        ("guess-volume-create", "vol-1"),
        ("guess-default-vim-connector", "my-openstack"),
        ("guess-vim-connector-create", "my-openstack"),
        ("guess-vim-user-create", "admin"),
        ("guess-file-server-create", "fs-1"),
    ],
)
def test_guessed_resources_are_named(name: str, resource_id: str) -> None:
    """Also where nothing says what happened to them."""
    resource = read(name).resource
    assert resource
    assert resource.id == resource_id


def test_parts_of_a_router_have_events_of_their_own() -> None:
    """The root's own event counts, wherever it stands."""
    notification = read("rec-router-create")
    assert notification.trigger == "CREATE_ROUTER"
    assert notification.resource
    assert notification.resource.attributes["interface"]["event_type"] == "ATTACH_INTERFACE"


# --- channel and fingerprint ---------------------------------------------------------------------


def test_the_root_decides_the_channel() -> None:
    """For what is posted to `/`; a malformed body has no root."""
    assert channel_of(read("seed-14-vm-stop-complete").root) is Channel.EVENTS
    for root in ("deployment", "image", "widget", None):
        assert channel_of(root) is Channel.CALLBACK


def test_a_fingerprint_is_equal_for_a_repeat_and_for_nothing_else() -> None:
    """Source, transaction, status code and body make it; the receipt, the time and the message do not."""
    sample = SAMPLES["rec-deploy-02-vm-alive"]
    kept = fingerprint(envelope_of(sample))
    assert parse(envelope_of(sample), DEPTH_MAX).fingerprint == kept
    assert fingerprint(envelope_of(sample, status_message="other", ref="r", headers=[], remote=None)) == kept
    others: list[dict[str, object]] = [
        {"source": "other"},
        {"transaction_id": "other"},
        {"transaction_id": None},
        {"status_code": 500},
        {"status_code": None},
    ]
    found = {fingerprint(envelope_of(sample, **changed)) for changed in others}
    found |= {kept, fingerprint(envelope(sample.body + b"\n", sample.raw_headers))}
    assert len(found) == len(others) + 2


# --- anything at all -----------------------------------------------------------------------------

NAMES = st.sampled_from(
    """
    deployment_stage event_type event type internal_deployment_id external_deployment_id deployment_name datacenter
    default deployment_details vm_source vm_target interfaces interface nic_id níc_id nicid security_groups port_uuid
    vm_name vm_uuid vmid vm_group vm_group_name vm_state_machine_state service_state_machine_state name id
    internal_image_id external_image_id internal_tenant_id a b
    """.split()  # noqa: SIM905  # a table of words reads better without forty pairs of quotes
)
TEXTS = st.sampled_from(
    ["", " ", "x", "VM_ALIVE", "CREATE_IMAGE", "VM_INERT_STATE", "false", "é\u200b", "y" * 1030, "\n z \n"]
)
TREES = st.recursive(TEXTS, lambda inner: st.lists(st.tuples(NAMES, inner), max_size=6), max_leaves=25)


def written(tree: Any) -> str:
    """A tree as XML."""
    if isinstance(tree, str):
        return tree
    return "".join(f"<{name}>{written(inner)}</{name}>" for name, inner in tree)


@given(st.sampled_from(["deployment", "esc_event", "image", "tenant", "router", "widget"]), TREES)
@example("deployment", [("interfaces", [("interfaces", "x")])])
@example("esc_event", [("vm_source", [("interfaces", [("interface", "x"), ("interface", [("nic_id", "1")])])])])
@example("esc_event", [("event_type", [("event_type", "VM_ALIVE")]), ("event", "VM_ALIVE")])
@example("tenant", [("event_type", "CREATE_TENANT"), ("id", "x"), ("id", "x")])
def test_any_arrangement_of_known_words_is_told(root: str, tree: Any) -> None:
    """UnitOfWork names in unknown places, repeated, nested, empty or overlong: classified or not, never an error."""
    check(told(f"<{root}>{written(tree)}</{root}>"))


@given(st.sampled_from(WELL_FORMED), st.data())
def test_mutated_samples_are_told_or_refused(sample: Sample, data: st.DataObject) -> None:
    """Cut, doubled or garbled anywhere."""
    start = data.draw(st.integers(0, len(sample.body)))
    end = data.draw(st.integers(start, len(sample.body)))
    middle = data.draw(st.sampled_from([b"", sample.body[start:end] * 2, b" " * LARGE_BYTES]) | st.binary(max_size=3))
    with suppress(NotXmlError):
        check(parse(envelope(sample.body[:start] + middle + sample.body[end:]), DEPTH_MAX))


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"<deployment>" + tail))
def test_any_bytes_are_told_or_refused(body: bytes) -> None:
    """There is no third way."""
    with suppress(NotXmlError):
        check(parse(envelope(body), DEPTH_MAX))
