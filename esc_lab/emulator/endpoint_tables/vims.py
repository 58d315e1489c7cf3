"""Chapters 13 and 14: VIM connectors and VIM users. Data only."""

from __future__ import annotations

from collections.abc import Sequence

from esc_lab.emulator.endpoint_model import BAD_BODY, BAD_HEADER, CONFLICT, Evidence, Need, Row

CONNECTORS = "13 ESC VIM Connectors"
USERS = "14 ESC VIM Users"

_V, _G = Evidence.VERIFIED, Evidence.GUESSED
_WORK = {200: "Request accepted", 400: "Invalid Request", 500: "Internal Server Error"}
_VIM, _VIM_USERS, _VIM_USER = (
    "/v0/vims/{vim_id}",
    "/v0/vims/{vim_id}/vim_users",
    "/v0/vims/{vim_id}/vim_users/{vim_user_id}",
)
_GET = "Get request accepted"
_NO_USER = "VIM User Id not found"

VIMS: Sequence[Row] = (
    Row("list_vim_connectors", CONNECTORS, "GET", "/v0/vims", "Get all VIM connectors", "list_vims", {200: _GET}, answer="vim_connector", many=True),
    Row("create_vim_connector", CONNECTORS, "POST", "/v0/vims", "Create a VIM connector", "create_vim", _WORK, callback=Need.REQUIRED, body="vim_connector", sends=("CREATE_VIM_CONNECTOR",), evidence=_G, extra=BAD_BODY),
    Row("get_default_vim_connector", CONNECTORS, "GET", "/v0/vims/default_vim_connector", "Get the default VIM connector's name", "get_default_vim", {200: "Request accepted"}, answer="default_vim_connector"),
    Row("set_default_vim_connector", CONNECTORS, "POST", "/v0/vims/default_vim_connector", "Choose the default VIM connector", "set_default_vim", _WORK, callback=Need.REQUIRED, body="default_vim_connector", sends=("CREATE_DEFAULT_VIM_CONNECTOR",), evidence=_G, extra=BAD_BODY),
    Row("delete_vim_connector", CONNECTORS, "DELETE", _VIM, "Delete a VIM connector", "delete_vim", {200: "VIM Connector deletion request accepted", 400: "Invalid Request", 404: "VIM Id not found", 500: "Internal Server Error"}, callback=Need.REQUIRED, sends=("DELETE_VIM_CONNECTOR",), evidence=_G),
    Row("get_vim_connector", CONNECTORS, "GET", _VIM, "Get a VIM connector by its id", "get_vim", {200: _GET, 404: "VIM Id not found"}, answer="vim_connector"),
    Row("update_vim_connector", CONNECTORS, "PUT", _VIM, "Update a VIM connector", "update_vim", _WORK, callback=Need.REQUIRED, body="vim_connector", sends=("UPDATE_VIM_CONNECTOR",), evidence=_G, extra=BAD_BODY),
    Row("check_vim_status", CONNECTORS, "PUT", f"{_VIM}/check_status", "Trigger VIM connector status checking", "check_vim", {200: "Request accepted", 400: "Invalid Request", 404: "Not Found", 500: "Internal Server Error"}),
    Row("list_vim_users", USERS, "GET", _VIM_USERS, "Get all VIM users", "list_vim_users", {200: _GET, 404: "Unknown VIM Id provided"}, answer="vim_user", many=True),
    Row("create_vim_user", USERS, "POST", _VIM_USERS, "Create a VIM user", "create_vim_user", _WORK, callback=Need.REQUIRED, body="vim_user", sends=("CREATE_VIM_USER",), evidence=_G, extra=BAD_BODY),
    Row("delete_vim_user", USERS, "DELETE", _VIM_USER, "Delete a VIM user", "delete_vim_user", {200: "Request accepted", 400: "Invalid Request", 404: _NO_USER, 500: "Internal Server Error"}, callback=Need.REQUIRED, sends=("DELETE_VIM_USER",), evidence=_G, extra=BAD_HEADER),
    Row("get_vim_user", USERS, "GET", _VIM_USER, "Get a VIM user by its id", "get_vim_user", {200: _GET, 404: _NO_USER}, answer="vim_user"),
    Row("update_vim_user", USERS, "PUT", _VIM_USER, "Update a VIM user", "update_vim_user", _WORK, callback=Need.REQUIRED, body="vim_user", sends=("UPDATE_VIM_USER",), evidence=_G, extra={**BAD_BODY, **CONFLICT}),
)  # fmt: skip
