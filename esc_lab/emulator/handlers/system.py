"""Chapters 11, 12 and 15, SSL management and authentication: ESC itself and the hosts of its VIMs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from esc_lab.emulator.esc import Esc, hosts_of
from esc_lab.emulator.refusal import conflict, invalid, missing
from esc_lab.emulator.resource_callbacks import TAKES_S
from esc_lab.emulator.work_items import Call, Reply, Work
from esc_lab.emulator.world import Thing
from esc_lab.simulator.esc_messages import Message, headers_of, render
from esc_lab.simulator.script_runner import Operation

MODES = ("OPERATION", "MAINTENANCE")
SYSTEM_STATES = ("escmanager", "vimmanager", "confd", "mona")
RUNNING = "RUNNING"
DISABLED = "disabled_host"


def get_mode(esc: Esc, _: Call) -> Reply:
    """GET the mode."""
    return Reply({"message": f"ESC is in {esc.mode} mode", "mode": esc.mode})


def set_mode(esc: Esc, call: Call) -> Reply:
    """POST: in MAINTENANCE no new work is taken; what goes on goes on."""
    wanted = call.path["escOpMode"].upper()
    if wanted not in MODES:
        raise invalid(f"operation mode {wanted[:80]!r} should be one of {', '.join(MODES)}")
    esc.world.say("mode", wanted)
    return get_mode(esc, call)


def get_host(esc: Esc, call: Call) -> Reply:
    """GET whether a host takes VMs."""
    name = _host(call)
    disabled = esc.world.thing(DISABLED, name) is not None
    return Reply({"host_name": name, "status": "disabled" if disabled else "enabled"})


def disable_host(esc: Esc, call: Call) -> Reply:
    """POST: no VM is placed on it from then on."""
    name = _host(call)
    thing = Thing(DISABLED, name, "hosts", {"host_name": name}, "CREATED")
    return _host_action(esc, call, "disable", lambda: esc.world.put(thing))


def enable_host(esc: Esc, call: Call) -> Reply:
    """POST: VMs are placed on it again."""
    thing = Thing(DISABLED, _host(call), "hosts")
    return _host_action(esc, call, "enable", lambda: esc.world.drop(thing))


def get_system_state(esc: Esc, call: Call) -> Reply:
    """GET one state."""
    name = call.path["name"]
    if name not in esc.system_states:
        raise missing(f"there is no system state {name[:80]!r}; there are {', '.join(esc.system_states)}")
    return Reply({"name": name, "state": esc.system_states[name]})


def reset_system_state(esc: Esc, call: Call) -> Reply:
    """POST: RUNNING again."""
    get_system_state(esc, call)
    esc.set_system_state(call.path["name"], RUNNING)
    return get_system_state(esc, call)


def set_password(esc: Esc, call: Call) -> Reply:
    """The one user's password; nothing can be changed while authentication is switched off."""
    user, password = call.query.get("userName", ""), call.query.get("password", "")
    if esc.password is None:
        raise invalid("authentication is switched off; start the emulator with --basic user:password")
    if user != esc.password[0]:
        raise invalid(f"there is no user {user[:80]!r}")
    if not password:
        raise invalid("password is missing")
    esc.password = user, password
    return Reply()


def _host(call: Call) -> str:
    name = call.path["hostName"]
    if name not in hosts_of("openstack") and name not in hosts_of("vmware"):
        raise missing(f"there is no host {name[:80]!r}")
    return name


def _host_action(esc: Esc, call: Call, verb: Literal["enable", "disable"], done: Callable[[], None]) -> Reply:
    name = call.path["hostName"]
    if (esc.world.thing(DISABLED, name) is not None) == (verb == "disable"):
        raise conflict(f"host {name!r} is {verb}d already")
    line = f"host {name}"
    esc.begin(line)
    ok = not esc.faults.happens("work-fails", esc.rng)
    says = f"HOST_{verb.upper()}"
    text = f"Host [{name}] {verb}d" if ok else f"Host [{name}] could not be {verb}d"
    transaction = esc.transaction()
    body = render("host_action", [("event_type", says), ("host_name", name)])
    headers = headers_of(esc.habits.header_style, transaction, text, ok=ok)
    message = Message("events", "host_action", says, ok, headers, body)
    message = replace(message, pause_s=esc.rng.uniform(*TAKES_S))
    operation = Operation(f"host-{verb}", "", esc.source, transaction, (message,), (), frozenset())
    return Reply(work=Work(line, operation, call.urls, finish=done if ok else lambda: None))


HANDLERS: dict[str, Callable[[Esc, Call], Reply]] = {
    one.__name__: one
    for one in (
        get_mode,
        set_mode,
        get_host,
        disable_host,
        enable_host,
        get_system_state,
        reset_system_state,
        set_password,
    )
}
