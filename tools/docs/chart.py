"""The chart's schema of values knows every setting by its name: a wrong one is refused before anything is made.

What stands in the schema beside these names is written by hand. Must not know what a setting is used for.
"""

from __future__ import annotations

import json
from pathlib import Path

from receiver.config.settings import Settings, is_secret

SCHEMA = Path(__file__).parents[2] / "packaging" / "chart" / "values.schema.json"
GIVEN_BY_CHART = {
    "data_dir",
    "spool_dir",
    "host",
    "tls_cert_file",
    "tls_key_file",
    "tls_client_ca_file",
    "migrate",
    "refuse_open",
}
"""Settings that the chart gives by itself."""


def renew(*, checking: bool) -> bool:
    """Whether the names in it are not those of the settings; they are written unless `checking`."""
    text = SCHEMA.read_text("utf-8")
    fresh = _fresh(text)
    if fresh != text and not checking:
        SCHEMA.write_text(fresh, "utf-8")
    return fresh != text


def _fresh(text: str) -> str:
    schema = json.loads(text)
    secret = sorted(name for name in Settings.model_fields if is_secret(name))
    properties = schema["properties"]
    properties["secrets"]["propertyNames"] = {"enum": secret}
    properties["settings"]["propertyNames"] = {
        "enum": sorted(set(Settings.model_fields) - set(secret) - GIVEN_BY_CHART),
    }
    return json.dumps(schema, indent=2) + "\n"
