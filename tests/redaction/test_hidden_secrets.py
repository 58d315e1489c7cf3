"""Secrets that stand where no plain field is: inside texts, escaped, in sections, behind references, in encodings."""

from __future__ import annotations

from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import NotXmlError
from receiver.parsing import xml_document
from receiver.redaction.redactor import OVERWRITTEN, Redactor
from receiver.redaction.secret_names import BAGS, VALUES, fold

SECRET = "hunter2-and-more"
REDACTOR = Redactor()

TEXTS = (
    "<a><b><![CDATA[<password>{}</password>]]></b></a>",
    '<a><b><![CDATA[{"password": "{}"}]]></b></a>',
    "<a><b>&lt;password&gt;{}&lt;/password&gt;</b></a>",
    "<a><b>&#60;password>{}&#x3c;/password></b></a>",
    "<a><b>&amp;lt;password&amp;gt;{}&amp;lt;/password&amp;gt;</b></a>",
    "<a><b>{{&quot;os_password&quot;: &quot;{}&quot;}}</b></a>".replace("{{", "{").replace("}}", "}"),
    '<a b="{&quot;token&quot;:&quot;{}&quot;}"/>',
    '<a><b>{"vim": {"name": "os_password", "value": "{}"}}</b></a>',
    "<a><b>login failed: password={} for admin</b></a>",
    "<a><b>GET https://vim.example/v3?token={}&amp;x=1</b></a>",
    "<a><b>https://admin:{}@vim.example/v3</b></a>",
    "<a><b>Authorization: Bearer {}</b></a>",
    "<a><b>curl -H 'X-Auth-Token: {}'</b></a>",
    "<a><b>-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----</b></a>",
    "<a><b>Callback: https://receiver.example/esc/lab1/callback/{}</b></a>",
    "<a><b>https://receiver.example/esc/lab1/events/{}?ref=1</b></a>",
    "<a><pwd_hash>{}</pwd_hash></a>",
    "<a><token_id>{}</token_id></a>",
    "<a><client-secret-value>{}</client-secret-value></a>",
    "<a><!-- password={} --></a>",
    "<a><?config password={} ?></a>",
)


@pytest.mark.parametrize("template", TEXTS)
def test_a_secret_inside_a_text_is_overwritten(template: str) -> None:
    """And the document can still be read."""
    body = template.replace("{}", SECRET).encode()
    redacted, changed = REDACTOR.redact(body)
    assert changed
    assert SECRET.encode() not in redacted
    xml_document.read(redacted, 64)
    assert REDACTOR.redact(redacted) == (redacted, False)


@pytest.mark.parametrize(
    "text",
    [
        "VM Alive event received, VM ID: [depzz_g1_0_50521f93]",
        "Error Messages: VM failed to stop. key pair not found at com.example.Driver",
        "the token bucket is empty",
        "https://www.cisco.com/esc/esc",
        "a@b.example",
    ],
)
def test_an_ordinary_text_stays(text: str) -> None:
    """Words that sound like secrets are no secrets by themselves."""
    assert REDACTOR.text(text) == text
    body = f"<a><b>{escape(text)}</b></a>".encode()
    assert REDACTOR.redact(body) == (body, False)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("Authorization", f"Bearer {SECRET}", OVERWRITTEN),
        ("X-Forwarded-Authorization", f"Basic {SECRET}", OVERWRITTEN),
        ("x_original_authorization", SECRET, OVERWRITTEN),
        ("Cookie", f"session={SECRET}", OVERWRITTEN),
        ("X-Api-Key", SECRET, OVERWRITTEN),
        ("X-Original-URI", f"/esc/lab1/callback/{SECRET}", "/esc/lab1/callback/***"),
        ("X-Envoy-Original-Path", f"/esc/lab1/events/{SECRET}?ref=7", "/esc/lab1/events/***?ref=***"),
        ("X-Forwarded-Uri", f"/esc/a/callback?access_token={SECRET}", "/esc/a/callback?access_token=***"),
        ("Referer", f"https://x.example/esc/lab1/callback/{SECRET}", "https://x.example/esc/lab1/callback/***"),
        ("X-Something", f"https://x.example/esc/lab1/callback/{SECRET}", "https://x.example/esc/lab1/callback/***"),
        ("ESC-Status-Message", f"login with password={SECRET} failed", "login with password=***"),
        ("ESC-Status-Message", f"https://admin:{SECRET}@vim failed", "https://admin:***@vim failed"),
        ("Content-Type", "application/xml; charset=UTF-8", "application/xml; charset=UTF-8"),
        ("User-Agent", "Java/1.8.0_60", "Java/1.8.0_60"),
    ],
)
def test_a_header_field_is_kept_without_its_secret(name: str, value: str, kept: str) -> None:
    """Credentials by name; a token in a path that a proxy repeats; texts as in bodies."""
    assert REDACTOR.header(name, value) == kept


@pytest.mark.parametrize(
    "body",
    [
        b'<a><p name="&#' + b"1" * 5000 + b';"/><password>hunter2</password></a>',
        b"<a><p><name>&#" + b"1" * 5000 + b";</name><value>hunter2</value></p><token>hunter2</token></a>",
        b"<a><p><name>" + b"x" * 2000 + b"</name><value>hunter2</value></p><token>hunter2</token></a>",
    ],
)
def test_a_label_that_cannot_be_read_names_a_secret(body: bytes) -> None:
    """And raises nothing."""
    redacted, changed = REDACTOR.redact(body)
    assert changed
    assert b"hunter2" not in redacted


@pytest.mark.parametrize("encoding", ["punycode", "utf-7", "idna", "hz", "iso-2022-jp", "unicode_escape", "nonsense"])
def test_a_body_in_an_encoding_that_hides_names_is_kept_without_its_content(encoding: str) -> None:
    """None of them is an encoding that is read, neither here nor by the parser."""
    head = f"<?xml version='1.0' encoding='{encoding}'?>".encode()
    redacted, changed = REDACTOR.redact(head + b"<a>+ADw-password+AD4-hunter2</a>")
    assert changed
    assert redacted == head + OVERWRITTEN.encode()
    with pytest.raises(NotXmlError):
        xml_document.read(head + b"<a>x</a>", 64)


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ISO_8859-15", "windows-1252", "us-ascii", "gb18030", "Shift_JIS"])
def test_a_body_in_an_encoding_that_writes_ascii_as_ascii_is_read(encoding: str) -> None:
    """By both."""
    body = f"<?xml version='1.0' encoding='{encoding}'?><a><password>x</password><b>y</b></a>".encode()
    redacted, changed = REDACTOR.redact(body)
    assert changed
    assert xml_document.read(redacted, 64).fields == {"password": OVERWRITTEN, "b": "y"}


def test_what_is_overwritten_inside_a_text_may_have_held_it_together() -> None:
    """The end of the instruction goes with the key, so that the instruction is torn; its text is secret then, too."""
    body = b"<a><!-- <?x hunter2 -----BEGIN PRIVATE KEY----- ?> --></a>"
    redacted, changed = REDACTOR.redact(body)
    assert changed
    assert REDACTOR.redact(redacted) == (redacted, False)


def test_names_of_the_users_own_are_secrets() -> None:
    """However they are separated."""
    redactor = Redactor(["license_code"])
    body = b"<a><License-Code>hunter2</License-Code><b>license_code=hunter2</b></a>"
    redacted, changed = redactor.redact(body)
    assert changed
    assert b"hunter2" not in redacted
    assert REDACTOR.redact(body) == (body, False)


def test_behind_the_limit_every_text_is_secret_and_the_document_stays_well_formed() -> None:
    """A hostile or huge document costs a bounded time; its head, where the ids stand, is read as ever."""
    pairs = "".join(f"<p n='{number}'><b>text</b><!-- c --></p>" for number in range(9000))
    body = f"<a><id>7</id><password>hunter2</password>{pairs}<token>hunter2</token></a>".encode()
    redacted, changed = REDACTOR.redact(body)
    assert changed
    assert b"hunter2" not in redacted
    document = xml_document.read(redacted, 64)
    assert document.fields["id"] == "7"
    assert redacted.count(b"<p ") == 9000
    assert REDACTOR.redact(redacted) == (redacted, False)


# The parser and the redactor agree about names.

NAMES = st.sampled_from(["a", "password", "x:password", "name", "value", "os_token", "credentials", "b", "pwd_hash"])
LEAVES = st.sampled_from([SECRET, "os_password", "colour", "", "  ", "&#112;assword", f"<![CDATA[{SECRET}]]>"])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        lambda name, children: f"<{name}>{''.join(children)}</{name}>", NAMES, st.lists(inner, max_size=3)
    ),
    max_leaves=12,
)
HEADS = st.sampled_from(["", "<?xml version='1.0'?>", "<?xml version='1.0' encoding='utf-16'?>", "\ufeff"])
ENCODINGS = st.sampled_from(["utf-8", "utf-16", "utf-16-le", "latin-1"])


def secrets_left(fields: xml_document.Fields, *, in_bag: bool = False) -> list[str]:
    """Texts that the parser shows under the name of a secret and that are not overwritten."""
    left: list[str] = []
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            is_secret = REDACTOR.names.is_secret(name) or (in_bag and fold(name) in VALUES)
            if isinstance(one, str):
                left += [one] if is_secret and one.replace(OVERWRITTEN, "").strip() else []
            else:
                left += secrets_left(one, in_bag=in_bag or fold(name) in BAGS)
    return left


@given(HEADS, TREES, ENCODINGS)
def test_what_the_parser_shows_as_a_secret_the_redactor_has_overwritten(head: str, tree: str, encoding: str) -> None:
    """In every encoding that the parser reads, under every name that it gives."""
    body = f"{head}<r xmlns:x='urn:x'>{tree}</r>".encode(encoding, "ignore")
    redacted, _ = REDACTOR.redact(body)
    try:
        shown = xml_document.read(redacted, 64).fields
    except NotXmlError:
        return
    assert secrets_left(shown) == []
