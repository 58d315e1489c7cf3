"""How one setting is declared. Must not know which there are."""

from __future__ import annotations

from typing import Any

from pydantic import Field


def setting(default: Any, description: str, **constraints: Any) -> Any:
    """Its default and meaning."""
    return Field(default, description=description, **constraints)


def secret(default: Any, description: str) -> Any:
    """A setting that is never printed and may also come from a file (`…_FILE`)."""
    return Field(default, description=description, repr=False, json_schema_extra={"secret": True})
