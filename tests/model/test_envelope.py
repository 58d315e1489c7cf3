"""Header spellings, status, and the receiver's own time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import HeaderTooLargeError
from receiver.model.envelope import ID_BYTES_MAX, Clock, Head, read_head
from receiver.model.notification import Status
from receiver.redaction.redactor import Redactor
from tests.support.samples import SAMPLES

MOST = 262_144


def head(*fields: tuple[str, str]) -> Head:
    """What header fields say."""
    return read_head([(name.encode(), value.encode()) for name, value in fields], MOST, Redactor())


@pytest.mark.parametrize(
    "name",
    ["esc-transaction-id", "ESC-Transaction-Id", "ESC_TRANSACTION_ID", "esc_Transaction-ID", "Esc-Transaction_Id"],
)
def test_every_spelling_of_a_name_counts(name: str) -> None:
    """docs/esc-callbacks.md#1: case and `_` do not matter, and what was sent is kept."""
    read = head((name, "42"))
    assert read.transaction_id == "42"
    assert read.headers == [(name, "42")]


@pytest.mark.parametrize(
    ("sample", "transaction_id", "notes"),
    [
        ("tol-headers-both-spellings", "1f0a6a20-0000-4000-8000-000000000017", ()),
        (
            "tol-headers-conflicting-ids",
            "1f0a6a20-0000-4000-8000-000000000017",
            ("conflicting-transaction-ids",),
        ),
        ("tol-headers-no-transaction-id", None, ()),
        ("tol-headers-all-underscore", "1f0a6a20-0000-4000-8000-000000000017", ()),
    ],
)
def test_spellings_of_the_samples(sample: str, transaction_id: str | None, notes: tuple[str, ...]) -> None:
    """The tolerance cases of docs/esc-callbacks.md#9."""
    read = read_head(SAMPLES[sample].raw_headers, MOST)
    assert (read.transaction_id, read.notes) == (transaction_id, notes)


def test_the_hyphenated_spelling_counts_in_whatever_order() -> None:
    """All are kept as sent; the disagreement is noted once."""
    fields = (("ESC_TRANSACTION_ID", "under"), ("esc-transaction-id", "hyphen"), ("Esc_Transaction_Id", "other"))
    for order in permutations(fields):
        read = head(*order)
        assert read.transaction_id == "hyphen"
        assert read.notes == ("conflicting-transaction-ids",)
        assert read.headers == list(order)


def test_a_transaction_id_that_is_too_long_to_be_looked_up_counts_as_none() -> None:
    """PostgreSQL's indexes would refuse it, for ever; the header has it all the same."""
    assert head(("esc-transaction-id", "é" * (ID_BYTES_MAX // 2))).transaction_id == "é" * (ID_BYTES_MAX // 2)
    read = head(("esc-transaction-id", "é" * (ID_BYTES_MAX // 2) + "x"))
    assert (read.transaction_id, read.notes) == (None, ("transaction-id-too-long",))
    assert read.headers == [("esc-transaction-id", "é" * (ID_BYTES_MAX // 2) + "x")]


def test_conflicting_statuses_are_noted_too() -> None:
    """As are messages."""
    read = head(
        *(("esc-status-code", "200"), ("ESC_STATUS_CODE", "500")),
        *(("esc-status-message", "fine"), ("ESC_STATUS_MESSAGE", "not fine")),
    )
    assert (read.status, read.status_code, read.status_message) == (Status.OK, 200, "fine")
    assert read.notes == ("conflicting-status-codes", "conflicting-status-messages")


@pytest.mark.parametrize(
    ("text", "status", "code", "notes"),
    [
        ("200", Status.OK, 200, ()),
        ("299", Status.OK, 299, ()),
        (" 201 ", Status.OK, 201, ()),
        ("300", Status.FAILED, 300, ()),
        ("199", Status.FAILED, 199, ()),
        ("500", Status.FAILED, 500, ()),
        ("-1", Status.FAILED, -1, ()),
        ("99999999999", Status.FAILED, None, ("status-code-out-of-range",)),
        ("OK", Status.UNKNOWN, None, ("status-code-not-a-number",)),
        ("200 OK", Status.UNKNOWN, None, ("status-code-not-a-number",)),
        ("2e2", Status.UNKNOWN, None, ("status-code-not-a-number",)),
        ("²⁰⁰", Status.UNKNOWN, None, ("status-code-not-a-number",)),
        ("", Status.UNKNOWN, None, ()),
    ],
)
def test_status_codes(text: str, status: Status, code: int | None, notes: tuple[str, ...]) -> None:
    """2xx is success, another number failure, everything else unknown; and the number fits its column."""
    read = head(("ESC-Status-Code", text))
    assert (read.status, read.status_code, read.notes) == (status, code, notes)


def test_no_status_is_unknown() -> None:
    """Absent is not success."""
    assert head().status is Status.UNKNOWN


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "proxy-authorization",
        "Cookie",
        "Set_Cookie",
        "X-Auth-Token",
        "X-API-Key",
        "api_key",
        "X-Secret",
    ],
)
def test_secret_headers_are_overwritten(name: str) -> None:
    """Their names stay, to be seen."""
    assert head((name, "hunter2"), ("Host", "here")).headers == [(name, "***"), ("Host", "here")]


def test_bytes_that_are_no_utf8_are_neither_lost_nor_harmful() -> None:
    """They are spelled out."""
    read = read_head([(b"ESC-Status-Message", b"caf\xe9 \xf0\x9f\x9b\xb0"), (b"X-\xff", b"a\0b")], MOST)
    assert read.status_message == "caf\\xe9 🛰"
    assert read.headers == [("ESC-Status-Message", "caf\\xe9 🛰"), ("X-\\xff", "a\\x00b")]


def test_too_large_a_header_is_refused() -> None:
    """All names and values together."""
    fields = [(b"a", b"x" * 9)] * 10
    assert read_head(fields, 100).headers
    with pytest.raises(HeaderTooLargeError, match="header_bytes_max"):
        read_head(fields, 99)


@given(st.lists(st.tuples(st.binary() | st.sampled_from([b"esc-status-code", b"ESC_STATUS_CODE"]), st.binary())))
def test_any_header_can_be_kept(fields: list[tuple[bytes, bytes]]) -> None:
    """Every text fits a text column and the code its integer."""
    read = read_head(fields, MOST)
    assert len(read.headers) == len(fields)
    for text in (
        *(part for pair in read.headers for part in pair),
        read.status_message or "",
        read.transaction_id or "",
    ):
        assert "\0" not in text
        assert text.encode().decode() == text
    assert read.status_code is None or abs(read.status_code) < 2**31


def test_the_receipt_carries_the_time_of_arrival() -> None:
    """A look-up by receipt needs to look into one partition only."""
    before = datetime.now(UTC)
    received_at, receipt = Clock().stamp()
    assert before - timedelta(seconds=1) < received_at < datetime.now(UTC) + timedelta(seconds=1)
    assert receipt.version == 7
    assert receipt.int >> 80 == int(received_at.timestamp() * 1000)


def test_the_receivers_time_runs_forwards() -> None:
    """Also when the machine's clock is set back, each callback arrives after the one before (chaos: clock-back)."""
    machine = iter([5_000_000_000, 3_000_000_000, 5_000_000_999, 9_000_000_000])
    clock = Clock(lambda: next(machine), ahead_max_s=2)
    stamps = [clock.stamp() for _ in range(4)]
    assert all(earlier[0] < later[0] for earlier, later in pairwise(stamps))
    assert [received_at.timestamp() for received_at, _ in stamps] == [5, 5.000001, 5.000002, 9]
    assert [receipt.int >> 80 for _, receipt in stamps] == [5000, 5000, 5000, 9000]


def test_the_receivers_time_goes_back_with_a_clock_that_was_far_ahead() -> None:
    """Rather than be a day ahead for a day: once, and from there forwards again."""
    day, heard = 86_400, list[float]()
    machine = iter(second * 10**9 for second in (10, 10 + day, 11, 11, 12))
    clock = Clock(lambda: next(machine), ahead_max_s=60, on_set_back=heard.append)
    assert [clock.stamp()[0].timestamp() for _ in range(5)] == [10, 10 + day, 11, 11.000001, 12]
    assert heard == [day - 1]
