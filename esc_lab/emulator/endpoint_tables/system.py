"""Chapters 09, 11, 12, 15 and 17, SSL management and authentication: ESC itself. Data only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from esc_lab.emulator.endpoint_model import BAD_BODY, BAD_HEADER, CONFLICT, Method, Need, Row
from esc_lab.emulator.handlers import configuration, resources, system

CONFIG, MODE, HOSTS = "09 Configuration Parameters", "11 ESC Operation Mode", "12 Host Actions"
STATES, MAPPINGS = "15 System States", "17 Dynamic Mappings"
SSL, AUTHENTICATION = "SSL Management", "Authentication"

_KEY = "/v0/config/{category}/{key}"
_MAPPING = "/v0/dynamic_mapping"


def _mappings(kind: str) -> Iterable[Row]:
    """Of actions and of metrics; `kind` is "action" or "metric"."""
    name, path = kind.capitalize(), f"{_MAPPING}/{kind}s"
    one = f"{path}/{{{kind}_name}}"
    missing = f"{name} [{kind}Name] not found."
    yield Row(
        f"delete_{kind}", MAPPINGS, "DELETE", one, f"Delete a dynamic mapping {kind}", configuration.delete_mapping,
        {
            200: f"Delete {kind} request accepted",
            400: f"'Invalid {kind} name provided', '{name} [{kind}Name] is a CORE {kind}, cannot delete.', or "
            f"'{name} [{kind}Name] is currently referenced in a deployment, cannot delete.'",
            404: missing,
        },
        kind=kind,
    )  # fmt: skip
    yield Row(
        f"get_{kind}", MAPPINGS, "GET", one, f"Get a dynamic mapping {kind} by its name", configuration.get_mapping,
        {200: f"Get {kind} request accepted", 400: f"Invalid {kind} name provided [{kind}Name].", 404: missing},
        kind=kind, answer=kind,
    )  # fmt: skip
    yield Row(
        f"delete_{kind}s", MAPPINGS, "DELETE", path, f"Delete all non-CORE dynamic mapping {kind}s", configuration.delete_mappings,
        {200: f"Delete all non-core {kind}s request accepted"}, kind=kind,
    )  # fmt: skip
    yield Row(
        f"list_{kind}s", MAPPINGS, "GET", path, f"Get all dynamic mapping {kind}s", resources.list_resources,
        {200: f"Get all {kind}s request accepted"}, kind=kind, answer=kind, many=True,
    )  # fmt: skip
    yield Row(
        f"create_{kind}s", MAPPINGS, "POST", path, f"Create dynamic mapping {kind}s", configuration.create_mappings,
        {
            200: f"Create new {kind} request accepted",
            400: f"'Exception Message' or 'No {kind} definition found.'",
            409: f"{name} [{kind}Name] already exists.",
        },
        kind=kind, body=f"{kind}s", extra=BAD_BODY,
    )  # fmt: skip


def _password(method: Method) -> Row:
    """The document prints the URL and no method, so that each that may be meant is taken."""
    return Row(
        f"set_password_{method.lower()}", AUTHENTICATION, method, "/v0/authentication/setpassword",
        "Change the password of Basic authentication", system.set_password, {200: "Password changed"},
        query=("userName", "password"), is_guess=True, extra={400: "Invalid Request"},
    )  # fmt: skip


def _host(verb: str) -> Row:
    return Row(
        f"{verb}_host", HOSTS, "POST", f"/v0/hosts/{{hostName}}/{verb}", f"{verb.capitalize()} a host", system.switch_host,
        {200: "successful operation"}, kind=verb, events=Need.REQUIRED, sends=(f"HOST_{verb.upper()}",),
        extra={**BAD_HEADER, **CONFLICT, 404: "Host not found"},
    )  # fmt: skip


SYSTEM: Sequence[Row] = (
    Row("list_config", CONFIG, "GET", "/v0/config", "Get all configuration parameters", configuration.list_config, {200: "Get all parameters request accepted"}, answer="config_parameter", many=True),
    Row("list_config_category", CONFIG, "GET", "/v0/config/{category}", "Get the parameters of a category", configuration.list_config, {200: "Get category request accepted.", 400: "Invalid category name provided.", 404: "Category not found."}, answer="config_parameter", many=True),
    Row("get_config", CONFIG, "GET", _KEY, "Get one parameter", configuration.get_config, {200: "Get key under category request accepted.", 400: "Invalid key or category name provided.", 404: "Key or category not found."}, answer="config_parameter"),
    Row("create_config", CONFIG, "POST", _KEY, "Create a new key under a category", configuration.create_config, {200: "Response Class"}, body="text", answer="config_parameter", extra={**BAD_BODY, **CONFLICT}),
    Row("set_config", CONFIG, "PUT", f"{_KEY}/{{value}}", "Change a parameter", configuration.set_config, {200: "Update value request accepted.", 400: "Invalid request.", 404: "Associated resource not found.", 406: "Not acceptable.", 409: "Conflicting resource.", 500: "Internal server error."}, answer="config_parameter", answer_printed=True, unproduced=(409, 500)),
    Row("set_operation_mode", MODE, "POST", "/v0/operationmode/{escOpMode}", "Set ESC's operation mode", system.set_mode, {200: "Response Class"}, answer="operation_mode", extra={400: "Invalid Request"}),
    Row("get_operation_mode", MODE, "GET", "/v0/operationmode", "Get ESC's operation mode", system.get_mode, {200: "Response Class"}, answer="operation_mode"),
    Row("get_host_status", HOSTS, "GET", "/v0/hosts/{hostName}/status", "Get the status of a host", system.get_host, {200: "Response Class"}, answer="host", headers=("Client-Transaction-Id",), extra={404: "Host not found"}),
    _host("disable"),
    _host("enable"),
    Row("get_system_state", STATES, "GET", "/v0/systemstate/{name}", "Get a system state", system.get_system_state, {200: "Get system state of specified name request accepted.", 404: "Name not found."}, answer="system_state"),
    Row("reset_system_state", STATES, "POST", "/v0/systemstate/{name}/reset", "Reset a system state", system.reset_system_state, {200: "Reset system state of specified name request accepted.", 404: "Name not found."}, answer="system_state"),
    *_mappings("action"),
    *_mappings("metric"),
    Row("reload_truststore", SSL, "PUT", "/internal/ssl/reload", "Reload ESC's truststore from the file system", system.reload_truststore, {204: "ESC Truststore reloaded successfully", 500: "Failed to reload ESC truststore"}),
    _password("GET"),
    _password("POST"),
    _password("PUT"),
)  # fmt: skip
