"""Secrets are overwritten by field name, wherever they stand, and nothing else is touched."""

from __future__ import annotations

from xml.sax.saxutils import escape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.redaction.redactor import OVERWRITTEN, Redactor
from receiver.redaction.secret_names import ANYWHERE, AS_A_WORD, AS_LAST_WORD, AT_THE_END, BAGS
from tests.support.samples import SAMPLES, Sample

REDACTOR = Redactor()
redact = REDACTOR.redact
is_secret = REDACTOR.names.is_secret
SECRET = "hunter2"
OPEN_NAMES = (
    "deployment",
    "vm_name",
    "esc_event",
    "security_groups",
    "name",
    "value",
    "tokenizer",
    "compass",
    "ns:src",
)
SECRET_NAMES = (
    "password",
    "os_password",
    "admin-Password",
    "esc:PASSWORD",
    "passwd",
    "client_secret",
    "accessToken",
    "token",
    "private_key",
    "encrypted_value",
    "api.key",
    "passphrase",
    "snmp_community",
    "os_pass",
    "pre_shared_key",
    "ike_psk",
    "password2",
)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_secrets_are_known(name: str) -> None:
    """Whatever their case, prefix and separators."""
    assert is_secret(name)


@pytest.mark.parametrize("name", [*OPEN_NAMES, "", "key", "bypass", "secretary", "tokens_used", "x" * 200 + "password"])
def test_ordinary_names_are_not_taken_for_secrets(name: str) -> None:
    """Part of a word is not the word."""
    assert not is_secret(name)


@pytest.mark.parametrize("word", sorted([*ANYWHERE, *AT_THE_END, *AS_A_WORD, *AS_LAST_WORD, *BAGS]))
def test_no_secret_word_escapes_the_quick_look(word: str) -> None:
    """The cheap first question must be answered yes by every body that has a secret name in it."""
    for spelled in (word, word.upper(), word.title()):
        assert REDACTOR.names.may_be_in(f"<a><x_{spelled}>1</x_{spelled}></a>".encode())


FIELDS = (
    "<a><os_password>{}</os_password><b>x</b></a>",
    "<a>\n  <n:Password xmlns:n='urn:x' type='plain'>\n  {}\n  </n:Password>\n</a>",
    "<a><token><![CDATA[{}]]></token></a>",
    "<a><secret><deep>{}</deep><deeper><x>{}</x></deeper></secret><x>y</x></a>",
    "<a><secret>x<!-- {} --></secret></a>".replace(">x<", "><"),
    "<a><!-- <password>{}</password> --></a>",
    "<a><connector password='{}' user=\"me\"/></a>",
    '<a><secret value="{}" name="db"/></a>',
    "<property><name>os_password</name><value>{}</value></property>",
    "<property><value>{}</value><name> OS_PASSWORD </name></property>",
    "<property><name><![CDATA[os_pass]]>word</name><value>{}</value><description>x</description></property>",
    "<property><name>&#112;assword</name><value>{}</value></property>",
    "<variable><name>ADMIN_PASSWORD</name><val>{}</val><val>{}</val></variable>",
    '<property name="os_password" value="{}"/>',
    '<property name="os_password">{}<hint>x</hint></property>',
    '<p><entry key="token"><value>{}</value></entry><entry key="colour"><value>red</value></entry></p>',
    "<vim_user><credentials><properties><property><name>os_name</name><value>{}</value></property></properties></credentials></vim_user>",
    "<credentials>{}</credentials>",
    "<a b='>'><password type='>'>{}</password>&gt;</a>",
)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037"])
def test_a_secret_is_overwritten_and_nothing_else(field: str, encoding: str) -> None:
    """Byte for byte, in every encoding that a parser might read."""
    declared = encoding.partition("-sig")[0]
    document = f'<?xml version="1.0" encoding="{declared}"?>\n{field}\n'
    body = document.replace("{}", SECRET).encode(encoding)
    redacted, changed = redact(body)
    assert changed
    assert redacted == document.replace("{}", OVERWRITTEN).encode(encoding)
    assert redact(redacted) == (redacted, False)


@pytest.mark.parametrize(
    "torn",
    [
        b"<a><password>%b",
        b"<a><password>%b</passwrd><b>x</b></a>",
        b"<a><password>%b</password><b>x</a>",
        b"<a><password %b</password></a>",
        b"<a>password>%b</password></a>",
        b"<property><name>os_password</name><value>%b",
        b"<property><value>%b</value><name>os_password</name",
        b'<a password="%b',
        b'<!DOCTYPE a [<!ENTITY password "%b">]><a>&password;</a>',
        b'{"os_password": "%b", "colour": "red"}',
        b'{"vim": {"tokens": ["%b", "%b"]}}',
        b'[{"name": "os_password", "value": "%b"}]',
        b"user=admin&password=%b&x=y",
        b"password: %b\ncolour: red",
        b"private_key: |\n-----BEGIN RSA PRIVATE KEY-----\n%b\n-----END RSA PRIVATE KEY-----",
        b"-----BEGIN PRIVATE KEY-----\n%b\n",
    ],
)
def test_a_secret_in_a_broken_body_is_overwritten(torn: bytes) -> None:
    """There the pattern must do."""
    redacted, changed = redact(torn.replace(b"%b", SECRET.encode()))
    assert changed
    assert SECRET.encode() not in redacted
    assert redact(redacted) == (redacted, False)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=lambda sample: sample.name)
def test_what_esc_sends_is_kept_as_sent(sample: Sample) -> None:
    """No sample holds a secret, but for the VIM user, whose shape is guessed: it shows credentials."""
    body = sample.body
    redacted, changed = redact(body)
    assert changed == (b"<credentials>" in body)
    assert redacted == body.replace(b"<value>admin</value>", b"<value>***</value>")


names = st.sampled_from(OPEN_NAMES)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\r", exclude_categories=["Cc", "Cs"]), max_size=8).map(
    escape
)


def element(name: str, children: list[str]) -> str:
    """A well-formed one."""
    return f"<{name}>{''.join(children)}</{name}>"


open_trees = st.recursive(texts, lambda inner: st.builds(element, names, st.lists(inner, max_size=4)), max_leaves=12)
fields = st.builds(lambda name: element(name, ["{}"]), st.sampled_from(SECRET_NAMES)) | st.builds(
    lambda name, first: element("p", sorted([element("name", [name]), element("value", ["{}"])], reverse=first)),
    st.sampled_from(SECRET_NAMES),
    st.booleans(),
)
trees = st.recursive(
    open_trees | fields,
    lambda inner: st.builds(element, names.filter(lambda n: n not in {"name", "value"}), st.lists(inner, max_size=4)),
)


@given(st.builds(element, st.just("root"), st.lists(trees, max_size=4)))
def test_in_any_document_only_secrets_change(template: str) -> None:
    """Nothing of a secret survives, and every other byte does."""
    template = template.replace("{}", "\0")
    body = template.replace("\0", SECRET).encode()
    redacted, changed = redact(body)
    assert redacted == template.replace("\0", OVERWRITTEN).encode()
    assert changed == ("\0" in template)
    assert changed or redacted is body


PIECES = [
    *(
        b"<password>",
        b"</password>",
        b"<value>",
        b"</value>",
        b"<name>",
        b"</name>",
        b"token",
        b"secret='",
        b'key="',
        b"<!--",
    ),
    *(
        b"-->",
        b"<![CDATA[",
        b"]]>",
        b"<?",
        b"?>",
        b"<",
        b">",
        b'"',
        b"'",
        b"=",
        b":",
        b" ",
        b"\n",
        b"x",
        b"/>",
        b"{",
        b"}",
    ),
    *(b"[", b"]", b",", b"&", b"&#112;", b"\0", b"\xff\xfe", b"***", b"<credentials>", b"os_pass", b"<!DOCTYPE", b"\\"),
]


@given(st.binary() | st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join))
@example(b'<?xml version="1.0" encoding="idna"?><password>x</password>')
@example(b'<?xml version="1.0" encoding="base64"?><password>x</password>')
@example(b"\xff\xfe<\0p\0a\0s\0s\0w\0o\0r\0d\0>\0x\0\0")
@example(b"<!--<pass=-->\x00")
def test_any_bytes_are_redacted_once_and_for_all(body: bytes) -> None:
    """Whatever arrives: no error, and a second look finds nothing more."""
    redacted, changed = redact(body)
    assert changed == (redacted != body)
    assert redact(redacted) == (redacted, False)


@pytest.mark.parametrize(
    "hostile",
    [
        b"<value>x",
        b"<a>",
        b"<!--",
        b'<token a="',
        b"<token '\"",
        b"token: ",
        b"{token:",
        b'token "',
        b"token:[",
        b"<",
        b"</b>",
    ],
)
def test_a_hostile_body_costs_no_more_than_its_length(hostile: bytes) -> None:
    """No nesting, no open quote makes the lexer go over the same bytes again: this would take hours."""
    redact(hostile * (262_144 // len(hostile)) + b"token")
    redact(b"{name:token," + hostile * (262_144 // len(hostile)))
