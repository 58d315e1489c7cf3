"""Chapters 01 to 05, 10, 13, 14, 16 and 19: resources, created, updated and deleted with one callback each.

Answers are those of the document's tables. Data only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from esc_lab.emulator.endpoint_model import BAD_BODY, BAD_HEADER, CONFLICT, Need, Row
from esc_lab.emulator.handlers import resources

TENANTS, NETWORKS, SUBNETS = "01 Tenants", "02 Networks", "03 Subnets"
IMAGES, FLAVORS, VOLUMES = "04 Images", "05 Flavors", "10 Volumes"
CONNECTORS, USERS = "13 ESC VIM Connectors", "14 ESC VIM Users"
FILE_SERVERS, ROUTERS = "16 File Servers", "19 Routers"

_ACCEPTED = "Request accepted"
_INVALID, _CONFLICT, _INTERNAL = "Invalid Request", "Conflicting Request", "Internal server error"
_VIM = "Unable to query VIM"
_NO_CONTENT = "No content"
_NO_FLAVORS = "Operation not supported on VIM/Flavor part of service registration"

_TENANT = "/v0/tenants/{internal_tenant_id}"
_NETWORK = "/v0/{internalTenantId}/networks/{internalNetworkId}"
_SUBNET = "/v0/{internalTenantId}/subnets/{internalSubnetId}"
_IMAGE = "/v0/images/{internalImageId}"
_FLAVOR = "/v0/flavors/{internalFlavorId}"
_VOLUME = "/v0/{internalTenantId}/volumes/{internalVolumeId}"
_SERVER = "/v0/fileserver/{internalServerId}"
_ROUTER = "/v0/{internalTenantId}/routers/{internalRouterId}"
_VIM_PATH, _USERS_PATH = "/v0/vims/{vim_id}", "/v0/vims/{vim_id}/vim_users"
_USER = f"{_USERS_PATH}/{{vim_user_id}}"
_DEFAULT = "/v0/vims/default_vim_connector"
_WORK = {200: _ACCEPTED, 400: _INVALID, 500: "Internal Server Error"}
_NO_TABLE = {200: "Response Class"}
"""Of an operation without a table of answers; the words are those of the document's heading."""
_GET = "Get request accepted"
_NO_VIM, _NO_USER = "VIM Id not found", "VIM User Id not found"

_HANDLERS = {
    "POST": ("create", resources.create_resource),
    "PUT": ("update", resources.update_resource),
    "DELETE": ("delete", resources.delete_resource),
}


def _work(
    kind: str,
    chapter: str,
    method: Literal["POST", "PUT", "DELETE"],
    path: str,
    answers: dict[int, str],
    extra: Mapping[int, str] | None = None,
    **more: Any,
) -> Row:
    """POST, PUT or DELETE: one callback ends it."""
    verb, handler = _HANDLERS[method]
    has_body = method != "DELETE"
    return Row(
        f"{verb}_{kind}", chapter, method, path, f"{verb.capitalize()} a {_words(kind)}", handler, answers, kind=kind,
        callback=Need.REQUIRED, body=kind if has_body else "", sends=(f"{verb.upper()}_{kind.upper()}",),
        extra={**BAD_HEADER, **(BAD_BODY if has_body else {}), **(extra or {})}, **more,
    )  # fmt: skip


def _one(kind: str, chapter: str, path: str, answers: dict[int, str], summary: str = "Get one {}", **more: Any) -> Row:
    return Row(
        f"get_{kind}", chapter, "GET", path, summary.format(_words(kind)), resources.get_resource, answers, kind=kind,
        answer=kind, **more,
    )  # fmt: skip


def _all(kind: str, chapter: str, path: str, answers: dict[int, str]) -> Row:
    return Row(
        f"list_{kind}s", chapter, "GET", path, f"Get all {_words(kind)}s", resources.list_resources, answers, kind=kind,
        answer=kind, many=True,
        headers=("internalNetworkId",) if kind == "subnet" else (),
        extra={} if 404 in answers or "{" not in path else {404: "Tenant not found"},
    )  # fmt: skip


def _words(kind: str) -> str:
    return kind.replace("_", " ").replace("vim", "VIM")


RESOURCES: Sequence[Row] = (
    _work("tenant", TENANTS, "DELETE", _TENANT, {200: "Tenant deletion request accepted", 400: _INVALID, 404: "Invalid Tenant Id"}),
    _one("tenant", TENANTS, _TENANT, {200: "Get request accepted", 404: "Invalid Request - Invalid Tenant ID"}),
    _work("tenant", TENANTS, "POST", _TENANT, {200: "Tenant creation request accepted", 400: _INVALID, 409: _CONFLICT}),
    _work("tenant", TENANTS, "PUT", _TENANT, {200: "Tenant update request accepted", 400: _INVALID, 404: "Invalid Tenant Id", 500: "Internal Server Error"}, CONFLICT),
    _all("tenant", TENANTS, "/v0/tenants", _NO_TABLE),
    _work("network", NETWORKS, "DELETE", _NETWORK, {200: _ACCEPTED, 400: "Invalid request", 500: _INTERNAL}),
    _one("network", NETWORKS, _NETWORK, {200: _ACCEPTED, 404: "Network Id not found"}),
    _work("network", NETWORKS, "POST", _NETWORK, {200: _ACCEPTED, 400: "Invalid request", 404: "Network Id not found", 409: "Conflicting request", 503: _VIM}),
    _work("network", NETWORKS, "PUT", _NETWORK, {200: _ACCEPTED, 204: _NO_CONTENT, 400: _INVALID, 404: "Not Found"}),
    _all("network", NETWORKS, "/v0/{internalTenantId}/networks", {200: _ACCEPTED}),
    _all("subnet", SUBNETS, "/v0/{internalTenantId}/subnets", {200: _ACCEPTED, 404: "Not found"}),
    _work("subnet", SUBNETS, "DELETE", _SUBNET, {200: _ACCEPTED, 400: _INVALID, 404: "Not found", 500: _INTERNAL}),
    _one("subnet", SUBNETS, _SUBNET, {200: _ACCEPTED, 404: "Not found"}),
    _work("subnet", SUBNETS, "POST", _SUBNET, {200: _ACCEPTED, 400: _INVALID, 404: "Not found", 409: _CONFLICT, 500: _INTERNAL}),
    _work("subnet", SUBNETS, "PUT", _SUBNET, {200: _ACCEPTED, 204: _NO_CONTENT, 400: _INVALID, 404: "Not Found"}),
    _work("image", IMAGES, "DELETE", _IMAGE, {200: _ACCEPTED, 400: _INVALID, 500: _INTERNAL}),
    _one("image", IMAGES, _IMAGE, {200: _ACCEPTED, 400: _INVALID, 404: "Image Id not found"}),
    _work("image", IMAGES, "POST", _IMAGE, {200: _ACCEPTED, 400: _INVALID, 409: _CONFLICT, 500: _INTERNAL}),
    _all("image", IMAGES, "/v0/images", {200: _ACCEPTED}),
    _all("flavor", FLAVORS, "/v0/flavors", {200: _ACCEPTED}),
    _work("flavor", FLAVORS, "DELETE", _FLAVOR, {200: _ACCEPTED, 404: "Flavor Id not found", 500: _INTERNAL}),
    _one("flavor", FLAVORS, _FLAVOR, {200: _ACCEPTED, 404: "Flavor Id not found", 406: _NO_FLAVORS}, unproduced=(406,)),
    _work("flavor", FLAVORS, "POST", _FLAVOR, {200: _ACCEPTED, 400: _INVALID, 404: "Flavor Id not found", 406: _NO_FLAVORS, 409: _CONFLICT, 500: _INTERNAL}, unproduced=(404, 406)),
    _work("volume", VOLUMES, "DELETE", _VOLUME, {200: _ACCEPTED, 400: "Invalid request", 500: _INTERNAL}),
    _one("volume", VOLUMES, _VOLUME, {200: _ACCEPTED, 404: "Volume Id not found"}),
    _work("volume", VOLUMES, "POST", _VOLUME, {200: _ACCEPTED, 400: "Invalid request", 404: "Volume Id not found", 409: "Conflicting request", 503: _VIM}),
    _all("volume", VOLUMES, "/v0/{internalTenantId}/volumes", {200: _ACCEPTED}),
    _all("file_server", FILE_SERVERS, "/v0/fileserver", {200: _ACCEPTED}),
    _work("file_server", FILE_SERVERS, "DELETE", _SERVER, {200: _ACCEPTED, 404: "Not found", 500: _INTERNAL}),
    _one("file_server", FILE_SERVERS, _SERVER, {200: _ACCEPTED, 404: "Not found"}),
    _work("file_server", FILE_SERVERS, "POST", _SERVER, {200: _ACCEPTED, 204: _NO_CONTENT, 400: _INVALID, 409: _CONFLICT}, unproduced=(204,)),
    _work("file_server", FILE_SERVERS, "PUT", _SERVER, {200: _ACCEPTED, 204: _NO_CONTENT, 400: _INVALID, 404: "Not Found"}),
    _work("router", ROUTERS, "DELETE", _ROUTER, {200: _ACCEPTED, 400: "Invalid request", 500: _INTERNAL}),
    _work("router", ROUTERS, "POST", _ROUTER, {200: _ACCEPTED, 400: "Invalid request", 404: "Router Id not found", 409: "Conflicting request", 503: _VIM}),
    _work("router", ROUTERS, "PUT", _ROUTER, {200: _ACCEPTED, 204: _NO_CONTENT, 400: _INVALID, 404: "Not Found"}),
    _all("vim_connector", CONNECTORS, "/v0/vims", _NO_TABLE),
    _work("vim_connector", CONNECTORS, "POST", "/v0/vims", _WORK),
    Row("get_default_vim_connector", CONNECTORS, "GET", _DEFAULT, "Get the default VIM connector's name", resources.get_default_vim, _NO_TABLE, answer="default_vim_connector"),
    Row("set_default_vim_connector", CONNECTORS, "POST", _DEFAULT, "Choose the default VIM connector", resources.set_default_vim, _WORK, callback=Need.REQUIRED, body="default_vim_connector", sends=("CREATE_DEFAULT_VIM_CONNECTOR",), extra=BAD_BODY),
    _work("vim_connector", CONNECTORS, "DELETE", _VIM_PATH, {200: "VIM Connector deletion request accepted", 400: _INVALID, 404: _NO_VIM, 500: "Internal Server Error"}),
    _one("vim_connector", CONNECTORS, _VIM_PATH, {200: _GET, 404: _NO_VIM}, summary="Get a {} by its id"),
    _work("vim_connector", CONNECTORS, "PUT", _VIM_PATH, _WORK),
    Row("check_vim_status", CONNECTORS, "PUT", f"{_VIM_PATH}/check_status", "Trigger VIM connector status checking", resources.check_vim, {200: _ACCEPTED, 400: _INVALID, 404: "Not Found", 500: "Internal Server Error"}, kind="vim_status"),
    _all("vim_user", USERS, _USERS_PATH, {200: _GET, 404: "Unknown VIM Id provided"}),
    _work("vim_user", USERS, "POST", _USERS_PATH, _WORK),
    _work("vim_user", USERS, "DELETE", _USER, {200: _ACCEPTED, 400: _INVALID, 404: _NO_USER, 500: "Internal Server Error"}),
    _one("vim_user", USERS, _USER, {200: _GET, 404: _NO_USER}, summary="Get a {} by its id"),
    _work("vim_user", USERS, "PUT", _USER, _WORK),
)  # fmt: skip
