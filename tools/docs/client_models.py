"""The consumers' kit's models, written by datamodel-code-generator from the schemas of the feed and the query API.

A client lives longer than the receiver that it was made for: what is not known yet must be kept and must not raise. So
fields may be added, a known set of words is a hint and no limit, and nothing else narrows a value.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson

from receiver.api.answer_schemas import components

MODELS = Path(__file__).parents[2] / "client" / "esc_receiver_client" / "models.py"
HEADER = '''"""What the feed and the query API tell, as classes. Written from its schemas by `make docs`.

Fields that a later receiver adds are kept (`model_extra`), and words that it adds to a set are let through.
"""'''
NOT_ASKED_FOR = {"Token", "Session", "Problem"}
"""Schemas of the query API that no method of the client returns."""
NARROWING = {"minimum", "maximum", "minLength", "maxLength", "minItems", "pattern", "title", "$schema", "$id"}
COMMAND = (
    "--input-file-type", "jsonschema", "--output-model-type", "pydantic_v2.BaseModel",
    "--target-python-version", "3.11",
    "--extra-fields", "allow", "--enum-field-as-literal", "all", "--use-union-operator", "--use-standard-collections",
    "--use-annotated", "--use-schema-description", "--use-field-description", "--use-inline-field-description",
    "--output-datetime-class", "AwareDatetime", "--disable-timestamp", "--keep-model-order", "--ignore-pyproject",
    "--skip-root-model", "--use-double-quotes", "--no-formatters", "--custom-file-header", HEADER,
)  # fmt: skip


def schema() -> dict[str, Any]:
    """All of them in one document."""
    found = {name: one for name, one in components().items() if name not in NOT_ASKED_FOR}
    for path in sorted(files("receiver").joinpath("events/schemas").iterdir(), key=lambda path: path.name):
        name = path.name.removesuffix(".json").capitalize()
        event = orjson.loads(path.read_bytes())
        if item := event["properties"].get("item"):
            shown = name if set(item["properties"]) - {"truncated"} <= set(found[name]["properties"]) else f"{name}Item"
            found.setdefault(shown, item)["properties"]["truncated"] = item["properties"]["truncated"]
            event["properties"]["item"] = {"$ref": f"#/components/schemas/{shown}"}
        found[f"{name}Event"] = event
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": _lenient(found)}


def _lenient(value: Any) -> Any:
    match value:
        case {"enum": words, **rest}:
            return {**rest, "anyOf": [{"enum": words}, {"type": "string"}]}
        case {"properties": {"change": {"const": word, **rest}, **others}, **more}:
            return _lenient({**more, "properties": {**others, "change": {**rest, "enum": [word]}}})
        case {"$ref": name}:
            return {"$ref": name.replace("#/components/schemas/", "#/$defs/")}
        case dict():
            return {name: _lenient(inner) for name, inner in value.items() if name not in NARROWING or _is_field(inner)}
        case list():
            return [_lenient(inner) for inner in value]
        case _:
            return value


def _is_field(inner: Any) -> bool:
    """Whether it is a property that happens to bear the name of a keyword."""
    return isinstance(inner, dict)


def written() -> str:
    """The module as the schemas are."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "schema.json"), Path(folder, "models.py")
        source.write_bytes(orjson.dumps(schema()))
        program = Path(sys.executable).with_name("datamodel-codegen")
        subprocess.run([program, "--input", source, "--output", target, *COMMAND], check=True)  # noqa: S603 - our own
        return _formatted(_formatted(target.read_text("utf-8"), "check", "--fix-only", "--select", "I"), "format")


def _formatted(text: str, *command: str) -> str:
    """As `make format` would leave it."""
    program = Path(sys.executable).with_name("ruff")
    given = [str(program), *command, "--quiet", "--stdin-filename", str(MODELS), "-"]
    ran = subprocess.run(given, input=text, check=True, capture_output=True, text=True)  # noqa: S603 - our own
    return ran.stdout


def renew(*, checking: bool = False) -> bool:
    """Bring the module up to date; whether it was not."""
    fresh = written()
    is_stale = not MODELS.exists() or MODELS.read_text("utf-8") != fresh
    if is_stale and not checking:
        MODELS.write_text(fresh, "utf-8")
    return is_stale
