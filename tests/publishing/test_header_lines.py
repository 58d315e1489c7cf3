"""Header lines are cut out of JSON without reading it: they are what reading it would give."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.events.subjects import header_value
from receiver.publishing.messages import header_lines

NAMES = ("ce-id", "ce-subject", "ce-correlationid", "Nats-Msg-Id")


def lines(headers: dict[str, str]) -> str:
    """By the long way."""
    return "\r\n".join(f"{name}: {value}" for name, value in headers.items())


@given(st.lists(st.text(st.sampled_from('":,\\{}[]a%é\r\n') | st.characters(), max_size=12), min_size=1, max_size=4))
def test_whatever_the_ids_are(texts: list[str]) -> None:
    """As `events` encodes them."""
    headers = dict(zip(NAMES, map(header_value, texts), strict=False))
    assert header_lines(orjson.dumps(headers).decode()) == lines(headers)


@pytest.mark.parametrize("value", ["", ":", ",", ":,:", '"', '","', '":"', "\\", '\\"', "a: b"])
@pytest.mark.parametrize("write", [json.dumps, lambda headers: orjson.dumps(headers).decode()], ids=["spaced", "plain"])
def test_rows_that_others_wrote(write: object, value: str) -> None:
    """With spaces, or with values that are none of ours."""
    headers = {"ce-id": value, "ce-subject": "vm/d/a", "Nats-Msg-Id": value}
    assert callable(write)
    assert header_lines(write(headers)) == lines(headers)
