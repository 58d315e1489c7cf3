"""A data model in the other language: from XML to JSON and back.

What repeats in XML is a list in JSON also where there is one of it. Attributes and comments are lost. This file must
not know what a data model means.
"""

from __future__ import annotations

from typing import Any

import orjson

from esc_lab.emulator.body_schemas import Language
from esc_lab.emulator.request_xml import read_xml, without_declaration
from esc_lab.simulator.esc_messages import NAMESPACE, render

ROOT = "esc_datamodel"
OWN_NAMESPACE = "http://www.cisco.com/esc/esc"
"""That of data models (docs/esc-callbacks.md#3)."""
_LISTS = frozenset(
    {
        "tenants/tenant", "deployments/deployment", "deployment/vm_group", "networks/network", "network/subnet",
        "interfaces/interface", "kpi_data/kpi", "admin_rules/rule", "rule/action", "config_data/configuration",
        "volumes/volume", "vm_group/placement", "scaling/static_ip_address_pool", "static_ip_address_pool/ip_address",
        "trunks/trunk", "subports/subport", "binding_profile/property", "variables/variable", "properties/property",
    }
)  # fmt: skip


def in_other_language(text: str, language: Language) -> bytes:
    """The text, which is in this language, in the other one."""
    if language == "xml":
        _, fields = read_xml(without_declaration(text))
        return orjson.dumps(_listed(fields, ROOT))
    written = render(ROOT, orjson.loads(text))
    return written.replace(NAMESPACE.encode(), OWN_NAMESPACE.encode(), 1)


def _listed(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return [_listed(one, name) for one in value]
    if not isinstance(value, dict):
        return value
    found = {inner: _listed(one, inner) for inner, one in value.items()}
    return {
        inner: [one] if f"{name}/{inner}" in _LISTS and not isinstance(one, list) else one
        for inner, one in found.items()
    }
