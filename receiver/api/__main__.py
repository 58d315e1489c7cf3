"""`python -m receiver.api`: print the OpenAPI document as it is with the settings' defaults (docs/openapi.json)."""

from __future__ import annotations

import sys

import orjson

from receiver.api.catalogue import catalogue
from receiver.api.openapi import document
from receiver.settings import Settings

written = orjson.dumps(document(catalogue(Settings()), is_open=True), option=orjson.OPT_INDENT_2)
sys.stdout.buffer.write(written + b"\n")
