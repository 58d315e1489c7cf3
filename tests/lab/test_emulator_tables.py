"""Every row of the emulator's table against the document's own text: paths, codes, reasons, headers."""

from __future__ import annotations

import re

import pytest

from esc_lab.emulator.endpoint_model import Need, Row
from esc_lab.emulator.endpoint_tables import ROWS
from tests.support.northbound_document import Printed, operations

PRINTED = {(one.method, one.path): one for one in operations()}
URL_ALONE = "/v0/authentication/setpassword"
"""Of it the document prints only the URL (lines 109 to 111)."""
WITH_TABLE = [row for row in ROWS if row.path != URL_ALONE]
CALLBACKS = ("Callback", "Callback-ESC-Events")


def printed(row: Row) -> Printed:
    """What the document says of it."""
    return PRINTED[row.method, row.path]


def test_the_rows_are_the_operations_that_the_document_prints() -> None:
    """Each once, in the spelling of its path."""
    assert {(row.method, row.path) for row in WITH_TABLE} == PRINTED.keys()
    assert len(operations()) == len(PRINTED) == len(WITH_TABLE)


@pytest.mark.parametrize("row", WITH_TABLE, ids=lambda row: row.name)
def test_codes_and_reasons_are_those_of_the_document(row: Row) -> None:
    """Word for word, and none of ours in their place; without a table, as its heading says."""
    found = printed(row)
    wanted = found.answers or {200: "Response Class"}
    assert dict(row.answers) == wanted, found.line
    assert {status: row.statuses[status] for status in wanted} == wanted
    assert found.answers or found.has_response_class


@pytest.mark.parametrize("row", WITH_TABLE, ids=lambda row: row.name)
def test_headers_and_parameters_are_those_of_the_document(row: Row) -> None:
    """Where they stand, and whether they are required."""
    found = printed(row)
    needs = dict(zip(CALLBACKS, (row.callback, row.events), strict=True))
    assert {name for name, need in needs.items() if need is not Need.NONE} == found.parameters.keys() & set(CALLBACKS)
    for name, need in needs.items():
        if need is not Need.NONE:
            assert (need is Need.OPTIONAL) == (not found.parameters[name]), found.line
    others = found.parameters.keys() - {*CALLBACKS, *re.findall("{(.*?)}", row.path)}
    assert {*row.query, *row.headers} == others
    if Need.ENFORCED in needs.values():
        assert row.answers[400].startswith("Missing callback")
