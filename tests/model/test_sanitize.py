"""Text that PostgreSQL, JSON and NATS take."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.sanitize import plain, sanitize

ANY_TEXT = st.text(st.characters(codec=None, categories=None)) | st.binary().map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)


def test_ordinary_text_stays_the_same_object() -> None:
    """Nothing is copied that need not be."""
    text = "VM_Alive event received, VM ID: [depzz_g1_0_50521f93]"
    assert sanitize(text) is text


def test_what_cannot_be_stored_is_spelled_out() -> None:
    """NUL, bytes that were no UTF-8, and any other lone surrogate can still be read."""
    assert sanitize("a\0b") == "a\\x00b"
    assert sanitize(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf\\xe9"
    assert sanitize("\ud83d") == "\\ud83d"


def test_letters_of_every_language_stay() -> None:
    """Only what is unfit is touched."""
    assert sanitize("Überwachung 監視 🛰") == "Überwachung 監視 🛰"


@given(ANY_TEXT)
def test_any_text_becomes_fit_once_and_for_all(text: str) -> None:
    """It encodes to UTF-8, holds no NUL, and is not changed again."""
    fitted = sanitize(text)
    assert "\0" not in fitted
    assert fitted.encode().decode() == fitted
    assert sanitize(fitted) == fitted


def test_what_could_steer_a_terminal_is_spelled_out() -> None:
    """Escapes of seven and of eight bits, line ends, marks that turn the text around, tags that nobody sees."""
    assert plain("\x1b]0;x\x07\x9b2J\r\n") == r"\u001b]0;x\u0007\u009b2J\u000d\u000a"
    assert plain("a\u202eb\u2066c\u2028d") == r"a\u202eb\u2066c\u2028d"
    assert plain("\U000e0041") == r"\udb40\udc41"
    assert plain("Überwachung 監視 🛰") == "Überwachung 監視 🛰"


@given(ANY_TEXT.map(sanitize))
def test_a_document_made_plain_is_the_same_document(text: str) -> None:
    """So programs may read what people may look at."""
    shown = plain(orjson.dumps(text).decode())
    assert shown.isprintable()
    assert orjson.loads(shown) == text
