"""Whether redaction and parser agree: what the parser shows under the name of a secret is overwritten."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.parsing.xml_document import Fields
from receiver.redaction.redactor import OVERWRITTEN
from receiver.redaction.secret_names import BAGS, LABELS, VALUES, SecretNames, fold

is_secret = SecretNames().is_secret


def secrets_left(fields: Fields, *, in_bag: bool = False) -> list[str]:
    """Texts that the parser shows as secrets and that are not overwritten: by their own name, in a bag, by a label."""
    left: list[str] = []
    labelled = any(is_secret(label) for name, label in _each(fields) if fold(name) in LABELS and isinstance(label, str))
    for name, value in _each(fields):
        is_value = (in_bag or labelled) and fold(name) in VALUES
        if not isinstance(value, str):
            left += secrets_left(value, in_bag=in_bag or fold(name) in BAGS)
        elif (is_secret(name) or is_value) and value.replace(OVERWRITTEN, "").strip():
            left.append(value)
    return left


def _each(fields: Fields) -> Iterator[tuple[str, str | Fields]]:
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            yield name, one
