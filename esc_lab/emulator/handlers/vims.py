"""Chapters 13 and 14: VIM connectors and their users. What is secret is masked before it is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from esc_lab.emulator.esc import Esc
from esc_lab.emulator.handlers.resources import shown, work_on
from esc_lab.emulator.masking import masked
from esc_lab.emulator.refusal import conflict, invalid, missing
from esc_lab.emulator.work_items import Call, Reply
from esc_lab.emulator.world import Thing
from esc_lab.simulator.resource_scripts import Action

CONNECTOR, USER, DEFAULT = "vim_connector", "vim_user", "default_vim_connector"


def list_vims(esc: Esc, _: Call) -> Reply:
    """GET all connectors."""
    return Reply(many=[shown(thing) for thing in esc.world.of_kind(CONNECTOR)])


def get_vim(esc: Esc, call: Call) -> Reply:
    """GET one connector."""
    return Reply(shown(_vim(esc, call)))


def create_vim(esc: Esc, call: Call) -> Reply:
    """POST a connector, its id in the body."""
    vim_id = esc.new_id(str(call.body.fields["id"]), "VIM id")
    return _make(esc, Thing(CONNECTOR, vim_id, values=_clean(call)), call)


def update_vim(esc: Esc, call: Call) -> Reply:
    """PUT a connector."""
    return _change(esc, _vim(esc, call), call)


def delete_vim(esc: Esc, call: Call) -> Reply:
    """DELETE a connector that has no users and is not the default."""
    thing = _vim(esc, call)
    for user in esc.world.of_kind(USER, thing.id):
        raise conflict(f"VIM {thing.id!r} still has user {user.id!r}")
    if esc.default_vim == thing.id:
        raise conflict(f"VIM {thing.id!r} is the default VIM connector")
    return Reply(work=work_on(esc, thing, "DELETE", call))


def check_vim(esc: Esc, call: Call) -> Reply:
    """PUT: it is there, and that is all the emulator can check."""
    _vim(esc, call)
    return Reply()


def get_default_vim(esc: Esc, _: Call) -> Reply:
    """GET the default connector's id; empty when none was chosen."""
    return Reply({"defaultVimConnectorId": esc.default_vim})


def set_default_vim(esc: Esc, call: Call) -> Reply:
    """POST: chosen when the callback says so."""
    vim_id = esc.checked_id(str(call.body.fields["defaultVimConnectorId"]), "VIM id")
    esc.thing(CONNECTOR, vim_id)
    thing = Thing(DEFAULT, vim_id, "vims", {"defaultVimConnectorId": vim_id})

    def choose() -> None:
        for old in list(esc.world.of_kind(DEFAULT)):
            esc.world.drop(old)
        esc.world.put(thing)

    return Reply(work=work_on(esc, thing, "CREATE", call, afterwards=choose))


def list_vim_users(esc: Esc, call: Call) -> Reply:
    """GET all users of a connector."""
    return Reply(many=[shown(thing) for thing in esc.world.of_kind(USER, _vim(esc, call).id)])


def get_vim_user(esc: Esc, call: Call) -> Reply:
    """GET one user."""
    return Reply(shown(_user(esc, call)))


def create_vim_user(esc: Esc, call: Call) -> Reply:
    """POST a user, its id in the body."""
    vim = _vim(esc, call)
    user_id = esc.checked_id(str(call.body.fields["id"]), "VIM user id")
    if esc.world.thing(USER, user_id, vim.id) is not None:
        raise conflict(f"VIM {vim.id!r} has a user {user_id!r}")
    if call.body.fields.get("vim_id", vim.id) != vim.id:
        raise invalid(f"vim_id is {call.body.fields['vim_id']!r} in the body, and {vim.id!r} in the path")
    return _make(esc, Thing(USER, user_id, vim.id, {**_clean(call), "vim_id": vim.id}), call)


def update_vim_user(esc: Esc, call: Call) -> Reply:
    """PUT a user."""
    return _change(esc, _user(esc, call), call)


def delete_vim_user(esc: Esc, call: Call) -> Reply:
    """DELETE a user."""
    return Reply(work=work_on(esc, _user(esc, call), "DELETE", call))


def _make(esc: Esc, thing: Thing, call: Call) -> Reply:
    work = work_on(esc, thing, "CREATE", call)
    esc.world.put(thing)
    return Reply(work=work)


def _change(esc: Esc, thing: Thing, call: Call) -> Reply:
    if call.body.fields["id"] != thing.id:
        raise invalid(f"id is {call.body.fields['id']!r} in the body, and {thing.id!r} in the path")
    values = _clean(call)
    changed = Thing(thing.kind, thing.id, thing.parent, {**thing.values, **values}, thing.state)

    def change() -> None:
        thing.values |= values

    action: Action = "UPDATE"
    return Reply(work=work_on(esc, changed, action, call, afterwards=change))


def _clean(call: Call) -> dict[str, Any]:
    fields = {name: value for name, value in call.body.fields.items() if name != "event_type"}
    cleaned: dict[str, Any] = masked(fields)
    return cleaned


def _vim(esc: Esc, call: Call) -> Thing:
    return esc.thing(CONNECTOR, call.path["vim_id"])


def _user(esc: Esc, call: Call) -> Thing:
    vim_id, user_id = call.path["vim_id"], call.path["vim_user_id"]
    found = esc.world.thing(USER, user_id, vim_id)
    if found is None:
        raise missing(f"VIM {vim_id!r} has no user {user_id!r}")
    return found


HANDLERS: dict[str, Callable[[Esc, Call], Reply]] = {
    one.__name__: one
    for one in (
        list_vims,
        get_vim,
        create_vim,
        update_vim,
        delete_vim,
        check_vim,
        get_default_vim,
        set_default_vim,
        list_vim_users,
        get_vim_user,
        create_vim_user,
        update_vim_user,
        delete_vim_user,
    )
}
