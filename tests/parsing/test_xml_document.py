"""A document is read as plain values, or refused with a fault that says what and where, and shows nothing of it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.errors import NotXmlError
from receiver.parsing.xml_document import KEPT_CHARACTERS_MAX, LARGE_BYTES, TEXT_CHARACTERS_MAX, Document, Value, read
from tests.support.samples import MALFORMED, SAMPLES, WELL_FORMED, Sample

DEPTH_MAX = 64
NO_DTD = "a document type declaration (DTD) is refused"
GOOD = SAMPLES["seed-04-deploy-vm-deployed"].body
UNSEEN_ENCODINGS = ("utf-16", "utf-32-be", "utf-16-le")
"""Those in which the bytes `<!DOCTYPE` do not occur, so that libxml2 gets to see the declaration."""


def fault_of(body: bytes, depth_max: int = DEPTH_MAX) -> str:
    """Why it is refused."""
    with pytest.raises(NotXmlError) as caught:
        read(body, depth_max)
    return str(caught.value)


def declared(document: str, encoding: str) -> bytes:
    """The document in an encoding that it declares."""
    return f'<?xml version="1.0" encoding="{encoding}"?>{document}'.encode(encoding)


def texts(value: Value) -> Iterator[str]:
    """Every name and text in plain values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    else:
        yield from value
        for inner in value.values():
            yield from texts(inner)


def check(document: Document) -> None:
    """What holds for whatever was read: it can be stored as text and as JSON, and is not boundless."""
    found = [document.root, *texts(document.fields)]
    assert all(found)
    assert not any("\0" in text for text in found)
    json.dumps(document.fields, ensure_ascii=False).encode()
    if document.cut:
        assert sum(map(len, found)) <= KEPT_CHARACTERS_MAX + TEXT_CHARACTERS_MAX


# --- what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", WELL_FORMED, ids=lambda sample: sample.name)
def test_every_well_formed_sample_is_read(sample: Sample) -> None:
    """Whatever ESC sends, or may send, is a document."""
    check(read(sample.body, DEPTH_MAX))


def test_elements_become_plain_values() -> None:
    """Local names, trimmed text, nothing empty, lists for what repeats, text beside elements under `#text`."""
    body = b"""<a:r xmlns:a="u:1" xmlns="u:2" x="not read">
      <one> 1 </one> <a:two>2</a:two> <none/> <none></none> <none>  </none> <nested><none/></nested>
      <many>x</many><many>x</many><many><y>z</y></many>
      <mixed> before <in>inside</in> after </mixed>
      <torn>a<!-- not b -->c<?nor d?><![CDATA[ <e> ]]></torn>
    </a:r>"""
    assert read(body, DEPTH_MAX) == Document(
        "r",
        {
            "one": "1",
            "two": "2",
            "many": ["x", "x", {"y": "z"}],
            "mixed": {"in": "inside", "#text": "before"},
            "torn": "ac <e>",
        },
        cut=False,
    )


@pytest.mark.parametrize(
    "body",
    [
        declared("<r><a>é</a></r>", "UTF-8"),
        declared("<r><a>é</a></r>", "UTF-16"),
        declared("<r><a>é</a></r>", "UTF-16BE"),
        declared("<r><a>é</a></r>", "UTF-32"),
        declared("<r><a>é</a></r>", "ISO-8859-1"),
        declared("<r><a>é</a></r>", "windows-1252"),
        declared("<r><a>é</a></r>", "GB18030"),
        "<r><a>é</a></r>".encode(),
        "<r><a>é</a></r>".encode("utf-16"),
        "\ufeff<r><a>é</a></r>".encode(),
        '\ufeff<?xml version="1.0" encoding="ISO-8859-1"?><r><a>é</a></r>'.encode(),
        '<?xml version="1.0" encoding="UTF-8"?><r><a>é</a></r>'.encode("utf-16"),
        '\r\n <?xml version="1.0"?><r><a>é</a></r>'.encode(),
        b"<r><a>&#233;</a></r>",
    ],
)
def test_any_encoding_reads_alike(body: bytes) -> None:
    """A byte order mark outranks the declaration; blank lines before the declaration do no harm."""
    assert read(body, DEPTH_MAX) == Document("r", {"a": "é"}, cut=False)


def test_comments_and_text_may_speak_of_document_types() -> None:
    """Only a declaration is refused, not the same bytes in a comment, an instruction, an attribute or CDATA."""
    outside = b"<!-- <!DOCTYPE a> --><?pi <!DOCTYPE b>?>"
    body = outside + b"<r x='!DOCTYPE'><a><![CDATA[<!DOCTYPE c>]]></a></r>" + outside
    assert read(body, DEPTH_MAX).fields == {"a": "<!DOCTYPE c>"}


def test_a_crowd_of_attributes_is_passed_over() -> None:
    """Looking at fifty thousand attributes would take seconds; they are not looked at."""
    attributes = b" ".join(b"a%d=''" % number for number in range(50_000))
    assert read(b"<r><a %s>1</a><b c='%s'/></r>" % (attributes, b"x" * 900_000), DEPTH_MAX).fields == {"a": "1"}


# --- what is large -------------------------------------------------------------------------------


def test_a_large_document_of_blanks_reads_like_a_small_one() -> None:
    """Being read aside, for its size, changes nothing."""
    assert read(GOOD + b" " * LARGE_BYTES, DEPTH_MAX) == read(GOOD, DEPTH_MAX)


def test_of_a_large_document_what_stands_near_the_root_is_kept() -> None:
    """The ids stand behind the details, and yet they are kept and the details cut."""
    crowd = b"<interface><nic_id>1</nic_id><ip_address>192.0.2.1</ip_address></interface>" * 20_000
    document = read(b"<r><deep><deeper>" + crowd + b"</deeper></deep><id>d1</id></r>", DEPTH_MAX)
    assert document.cut
    assert document.fields["id"] == "d1"
    check(document)


@pytest.mark.parametrize(
    "inside",
    [
        b"<a>" + b"x" * 900_000 + b"</a>",
        b"<%s>1</%s>" % (b"n" * 4000, b"n" * 4000) + b" " * LARGE_BYTES,
        b"<a>x</a>" * 100_000,
        b"".join(b"<a%d>1</a%d>" % (number, number) for number in range(40_000)),
        b"<a>" * 60 + b"x" * 100_000 + b"</a>" * 60,
        "<a>\U0001f600</a>".encode() * 60_000,
    ],
    ids=["text", "name", "repeated", "names", "deep", "astral"],
)
def test_what_is_kept_of_a_large_document_is_bounded(inside: bytes) -> None:
    """Whatever makes it large, what remains fits into one message of the feed."""
    document = read(b"<r>" + inside + b"</r>", DEPTH_MAX)
    assert document.cut
    assert len(json.dumps(document.fields, ensure_ascii=False).encode()) < 512 * 1024
    check(document)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("sample", MALFORMED, ids=lambda sample: sample.name)
def test_every_malformed_sample_is_refused(sample: Sample) -> None:
    """With a fault of one line."""
    assert "\n" not in fault_of(sample.body)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "the body is empty"),
        (b" \r\n", "the body is empty"),
        (b'{"a": 1}', "this is not XML: a start tag is missing (line 1, column 1)"),
        (b"<secret/><secret/>", "something follows the end of the document (line 1, column 10)"),
        (b"<a>\n\x01</a>", "a character that XML does not allow (line 2, column 1)"),
        (b"<a>&#0;</a>", "a character that XML does not allow (line 1, column 8)"),
        (b"<a>&#xD800;</a>", "a character that XML does not allow (line 1, column 12)"),
        (b"<a>\0</a>", "a character that XML does not allow (line 1, column 4)"),
        (b"<a>&secret;</a>", "an entity that is not declared (line 1, column 12)"),
        (b'<?xml version="1.0" encoding="secret"?><a/>', "an encoding that is not supported (line 1, column 38)"),
        (b'<a/><?xml version="1.0"?>', "an XML declaration that is not at the very start (line 1, column 10)"),
        (b"<secret", "a tag is not closed (line 1, column 8)"),
        (b"<a>\n<secret></a>", "an end tag does not match its start tag (line 2, column 13)"),
        (b"\n\n<a><secret></a>", "an end tag does not match its start tag (line 3, column 16)"),
        (b"<secret>", "the document ends before its elements do (line 1, column 9)"),
        (b"<a>\xe9</a>", "bytes that the encoding does not allow (line 1, column 4)"),
        (b"<a>\xed\xa0\x80</a>", "bytes that the encoding does not allow (line 1, column 4)"),
        (b"\xff\xfe<\0a\0>\0\x00\xd8<\0/\0a\0>\0", "bytes that the encoding does not allow (line 1, column 1)"),
        (b"<secret:a/>", "a namespace prefix that is not declared (line 1, column 10)"),
        (b"<a secret='1' secret='2'/>", "not well-formed (line 1, column 25)"),
        (b"<" + b"n" * 60_000 + b"/>", "a name is too long (line 1, column 60002)"),
        (b"\xef\xbb\xbf\n<!DOCTYPE secret><a/>", f"{NO_DTD} (line 2, column 1)"),
    ],
)
def test_a_fault_says_what_and_where_and_shows_nothing(body: bytes, fault: str) -> None:
    """The words are ours: libxml2's would repeat what they found."""
    assert fault_of(body) == fault


@given(
    st.sampled_from(
        ["<{0}><b></{0}>", "<{0}", "<a>&{0};</a>", "<{0}:a/>", "<a {0}='' {0}=''/>", "<a>{0}", "<!DOCTYPE {0}>"]
    )
)
def test_no_fault_repeats_the_content(template: str) -> None:
    """Not a name, not a text, not an entity."""
    assert "Hunter2" not in fault_of(template.format("Hunter2").encode())


@pytest.mark.parametrize("aside", [0, LARGE_BYTES], ids=["small", "large"])
def test_depth_is_limited(aside: int) -> None:
    """Elements may be nested as deep as the setting says, and no deeper; libxml2 itself ends at 256."""
    blanks = b" " * aside
    assert read(b"<a>" * 8 + b"</a>" * 8 + blanks, 8).root == "a"
    assert read(b"<a>" * 256 + b"</a>" * 256 + blanks, 256).root == "a"
    assert fault_of(b"<a>\n" * 9 + b"</a>" * 9 + blanks, 8) == "elements are nested too deep (line 8)"
    for depth in (257, 100_000):
        fault = fault_of(b"<a>" * depth + b"</a>" * depth + blanks, 1000)
        assert fault.startswith("nested too deep, or larger than libxml2 allows")


# --- DTDs and entities ---------------------------------------------------------------------------

LAUGHS = "".join(f"<!ENTITY x{n} '" + f"&x{n - 1};" * 10 + "'>" for n in range(1, 10))
DTDS = {
    "bare": "<!DOCTYPE a><a/>",
    "internal": '<!DOCTYPE a [<!ENTITY x "boo">]><a>&x;</a>',
    "unused": '<!DOCTYPE a [<!ENTITY x "boo">]><a/>',
    "default": '<!DOCTYPE a [<!ATTLIST a b CDATA "boo">]><a/>',
    "parameter": "<!DOCTYPE a [<!ENTITY % p \"<!ENTITY x 'boo'>\"> %p;]><a>&x;</a>",
    "in front": "<!-- <a> --><?pi <a>?>\n<!DOCTYPE a><a/>",
}
BOMBS = {
    "laughs": f'<!DOCTYPE a [<!ENTITY x0 "lol">{LAUGHS}]><a>&x9;</a>',
    "laughs in an attribute": f'<!DOCTYPE a [<!ENTITY x0 "lol">{LAUGHS}]><a b="&x9;"/>',
    "quadratic": "<!DOCTYPE a [<!ENTITY x '" + "y" * 50_000 + "'>]><a>" + "&x;" * 20_000 + "</a>",
    "quadratic in attributes": "<!DOCTYPE a [<!ENTITY x '"
    + "y" * 50_000
    + "'>]><a>"
    + "<b c='&x;'/>" * 20_000
    + "</a>",
    "recursive": '<!DOCTYPE a [<!ENTITY x "&y;"><!ENTITY y "&x;">]><a>&x;</a>',
    "parameters": '<!DOCTYPE a [<!ENTITY % p "%q;"><!ENTITY % q "%p;"> %p;]><a/>',
}


@pytest.mark.parametrize("document", [*DTDS.values(), *BOMBS.values()], ids=[*DTDS, *BOMBS])
def test_a_dtd_is_refused_unread(document: str) -> None:
    """Before libxml2 sees it: nothing is expanded, whatever its version makes of entities."""
    assert fault_of(document.encode()).startswith(f"{NO_DTD} (line ")


@pytest.mark.parametrize("encoding", UNSEEN_ENCODINGS)
@pytest.mark.parametrize("document", DTDS.values(), ids=DTDS)
def test_a_dtd_is_refused_in_encodings_that_hide_it(document: str, encoding: str) -> None:
    """It is found once libxml2 has decoded it."""
    assert fault_of(declared(document, encoding)).startswith(NO_DTD)


@pytest.mark.parametrize("encoding", UNSEEN_ENCODINGS)
@pytest.mark.parametrize("document", BOMBS.values(), ids=BOMBS)
def test_a_hidden_bomb_does_not_go_off(document: str, encoding: str) -> None:
    """libxml2 stops where a document would grow out of proportion; it is refused one way or another."""
    fault_of(declared(document, encoding))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A door on the loopback where somebody would knock to fetch a DTD."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.mark.parametrize("encoding", ["utf-8", *UNSEEN_ENCODINGS])
def test_nothing_is_fetched(encoding: str, listener: socket.socket, tmp_path: Path) -> None:
    """No connection is made and no file is read: what the file holds would be another fault than the DTD itself."""
    file = tmp_path / "outside"
    file.write_text("this is no DTD, and reading it is an error of its own")
    for url in (f"http://127.0.0.1:{listener.getsockname()[1]}/x", file.as_uri(), str(file)):
        for document in (
            f'<!DOCTYPE a SYSTEM "{url}"><a/>',
            f'<!DOCTYPE a PUBLIC "p" "{url}"><a/>',
            f'<!DOCTYPE a [<!ENTITY x SYSTEM "{url}">]><a>&x;</a>',
            f'<!DOCTYPE a [<!ENTITY % p SYSTEM "{url}"> %p;]><a/>',
        ):
            assert fault_of(declared(document, encoding)).startswith(NO_DTD)
        include = f'<a xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="{url}" parse="text"/></a>'
        schema = f'<a xmlns:s="http://www.w3.org/2001/XMLSchema-instance" s:noNamespaceSchemaLocation="{url}"/>'
        sheet = f'<?xml-stylesheet href="{url}"?><a/>'
        for document in (include, schema, sheet):
            assert read(declared(document, encoding), DEPTH_MAX).fields == {}
    with pytest.raises(BlockingIOError):
        listener.accept()


# --- going on ------------------------------------------------------------------------------------


def test_a_fault_leaves_no_trace() -> None:
    """The parser is shared: after every kind of fault a good document reads as before, from any thread."""
    before = read(GOOD, DEPTH_MAX)
    bad = [sample.body for sample in MALFORMED] + [document.encode() for document in (*DTDS.values(), *BOMBS.values())]

    def good_after(body: bytes) -> Document:
        fault_of(body)
        return read(GOOD, DEPTH_MAX)

    assert [good_after(body) for body in bad] == [before] * len(bad)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(good_after, bad * 20)) == [before] * len(bad) * 20


CROWD = """
from itertools import count
from lxml import etree
from receiver.parsing.xml_document import _PARSER, read

number = count()
good = open(0, "rb").read()

def crowd(characters):
    names = (b"<n%d%s/>" % (next(number), b"x" * characters) for _ in range(400))
    return b"<a>" + b"".join(names) + b"</a>"
"""
EXHAUST = """
for characters in (20_000, 500, 10):
    try:
        while True:
            etree.fromstring(crowd(characters), _PARSER)
    except etree.XMLSyntaxError:
        pass
try:
    etree.fromstring(good, _PARSER)
except etree.XMLSyntaxError:
    assert read(good, 64).root == "deployment"
else:
    raise SystemExit("libxml2 still reads")
"""
CROWDS = """
for _ in range(36):
    assert read(crowd(20_000), 64).root == "a"
etree.fromstring(crowd(500), _PARSER)
"""


@pytest.mark.parametrize("script", [EXHAUST, CROWDS], ids=["exhausted", "large documents"])
def test_a_flood_of_names_does_not_end_the_reading(script: str) -> None:
    """Past 100 MB of element names libxml2 refuses every document in that thread; another thread reads on.
    Large documents, which would get it there soonest, are read in threads of their own from the first."""
    command = [sys.executable, "-c", CROWD + script]
    done = subprocess.run(command, input=GOOD, capture_output=True, timeout=120, check=False)  # noqa: S603  # ours
    assert done.returncode == 0, done.stderr.decode()


# --- anything at all -----------------------------------------------------------------------------


def read_or_refuse(body: bytes) -> None:
    """Any other error than the declared one fails the test."""
    with suppress(NotXmlError):
        check(read(body, DEPTH_MAX))


@given(
    st.binary(max_size=300)
    | st.binary(max_size=300).map(lambda tail: b"<a>" + tail)
    | st.text(max_size=200).map(str.encode)
)
@example(b"\xff\xfe")
@example(b"\0\0\xfe\xff")
@example(b"<\0")
@example(b"+ADw-a/+AD4-")
@example(b"\x4c\x6f\xa7\x94")
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """There is no third way."""
    read_or_refuse(body)


PIECES = [
    *(b"<", b">", b"/", b"&", b"&#0;", b"]]>", b"<![CDATA[", b"<!--", b"-->", b"<?", b"\0", b"\xff", b'"', b"xmlns=''"),
    *(b"<!DOCTYPE a>", b"<interfaces>", b"</interfaces>", b"<deployment_stage>VM_ALIVE</deployment_stage>"),
]


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A sample with pieces cut, doubled, or put in."""
    body = draw(st.sampled_from(list(SAMPLES.values()))).body
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 200)))
        middle = draw(st.sampled_from([b"", body[start:end] * 2]) | st.sampled_from(PIECES) | st.binary(max_size=4))
        body = body[:start] + middle + body[end:]
    return body


@given(mutations())
def test_mutated_samples_are_read_or_refused(body: bytes) -> None:
    """Broken in any way, a callback is still one or the other."""
    read_or_refuse(body)
