"""Chapters 11, 12 and 15, SSL management and authentication: ESC itself and the hosts of its VIMs."""

from __future__ import annotations

from esc_lab.emulator.esc import RUNNING, SYSTEM_STATES, Esc
from esc_lab.emulator.refusal import RefusalError, Wrong, conflict, invalid, missing
from esc_lab.emulator.work_items import Call, Reply
from esc_lab.emulator.workflows import one_event
from esc_lab.simulator.fleet import hosts_of
from esc_lab.simulator.resource_scripts import Resource

MODES = ("OPERATION", "MAINTENANCE")


def get_mode(esc: Esc, call: Call) -> Reply:
    """GET the mode."""
    return Reply({"message": f"ESC is in {esc.mode} mode", "mode": esc.mode})


def set_mode(esc: Esc, call: Call) -> Reply:
    """POST: in MAINTENANCE no new work is taken; work in progress continues."""
    wanted = call.path["escOpMode"].upper()
    if wanted not in MODES:
        raise invalid(f"operation mode {wanted[:80]!r} should be one of {', '.join(MODES)}")
    esc.world.set("mode", wanted)
    return get_mode(esc, call)


def get_host(esc: Esc, call: Call) -> Reply:
    """GET whether VMs are placed on a host."""
    name = _host(call)
    disabled = esc.world.resource("disabled_host", name) is not None
    return Reply({"host_name": name, "status": "disabled" if disabled else "enabled"})


def switch_host(esc: Esc, call: Call) -> Reply:
    """POST: no VM is placed on it from then on, or VMs are again; the row's kind is "disable" or "enable"."""
    name, verb = _host(call), call.row.kind
    if (esc.world.resource("disabled_host", name) is not None) == (verb == "disable"):
        raise conflict(f"host {name!r} is {verb}d already")
    disabled = Resource("disabled_host", name, {"host_name": name}, "hosts", "CREATED")

    def switch() -> None:
        (esc.world.put if verb == "disable" else esc.world.drop)(disabled)

    return Reply(
        work=one_event(
            esc,
            f"host {name}",
            kind=f"host-{verb}",
            root="host_action",
            fields={"event_type": f"HOST_{verb.upper()}", "host_name": name},
            texts=(f"Host [{name}] {verb}d", f"Host [{name}] could not be {verb}d"),
            urls=call.urls,
            afterwards=switch,
        )
    )


def get_system_state(esc: Esc, call: Call) -> Reply:
    """GET one state."""
    name = call.path["name"]
    if name not in SYSTEM_STATES:
        raise missing(f"there is no system state {name[:80]!r}; there are {', '.join(SYSTEM_STATES)}")
    return Reply({"name": name, "state": esc.system_states[name]})


def reset_system_state(esc: Esc, call: Call) -> Reply:
    """POST: RUNNING again."""
    get_system_state(esc, call)
    esc.world.set(f"state/{call.path['name']}", RUNNING)
    return get_system_state(esc, call)


def set_password(esc: Esc, call: Call) -> Reply:
    """The one user's password; it cannot be changed while authentication is switched off."""
    user, password = call.query.get("userName", ""), call.query.get("password", "")
    if esc.password is None:
        raise invalid("authentication is switched off; start the emulator with --basic user:password")
    if user != esc.password[0]:
        raise invalid(f"there is no user {user[:80]!r}")
    if not password:
        raise invalid("password is missing")
    esc.password = user, password
    return Reply()


def reload_truststore(esc: Esc, call: Call) -> Reply:
    """PUT: the certificates that callback targets are judged by are read again."""
    try:
        esc.reload_truststore()
    except OSError as error:
        raise RefusalError(Wrong.VIM, f"Failed to reload ESC truststore: {error}") from error
    return Reply()


def _host(call: Call) -> str:
    name = call.path["hostName"]
    if name not in hosts_of("openstack") and name not in hosts_of("vmware"):
        raise missing(f"there is no host {name[:80]!r}")
    return name
