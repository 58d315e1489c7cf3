"""How lists and tables are read that come as one text: from an environment variable or a file."""

from __future__ import annotations

from typing import Any

import orjson


def parse_json(value: Any) -> Any:
    """What a JSON text holds; anything else unchanged. Raises ValueError, which does not show the text."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        # `from None`: the decoder's error carries the whole document, which may hold secrets.
        raise ValueError(f"not valid JSON: {error.msg} at character {error.pos}") from None


def split_list(value: Any) -> Any:
    """The entries of a text, separated by commas or spaces; anything else unchanged."""
    return value.replace(",", " ").split() if isinstance(value, str) else value
