"""Heads that aiohttp's parser refuses: folded ones are read, others are kept, and those that smuggle are not."""

from __future__ import annotations

from re import sub

import pytest

from receiver.http.head_recovery import may_be_callback, unfold
from receiver.http.ingress import Ingress
from receiver.model.notification import Status
from tests.support.ingress import answer_from, serving

BODY = b"<deployment/>"
HEAD = b"POST /esc/default/callback HTTP/1.1\r\nHost: h\r\nContent-Length: 13\r\nESC-Status-Code: 500\r\n"
FOLDED = HEAD + b"ESC-Status-Message: Error Messages: VM failed to stop.%b\r\nESC-Transaction-Id: t-1\r\n\r\n"
MESSAGE = "Error Messages: VM failed to stop. at com.example.Driver"


@pytest.mark.parametrize(
    "fold",
    [
        b"\r\n at com.example.Driver",
        b"\r\n\tat com.example.Driver",
        b"\n\tat com.example.Driver",
        b"\n at com.example.Driver",
        b" \t\r\n \t at com.example.Driver",
        b"\r\n at\r\n\t com.example.Driver",
        b"\r\n \r\n at com.example.Driver",
    ],
)
@pytest.mark.parametrize("pieces", ["one", "two", "bytes"])
async def test_a_folded_field_is_kept_its_folds_are_one_space(fold: bytes, pieces: str) -> None:
    """As Java's HttpURLConnection sends an error of two lines; also when the head arrives in pieces."""
    sent = FOLDED % fold + BODY
    parts = {"one": [sent], "two": [sent[:90], sent[90:]], "bytes": [sent[at : at + 1] for at in range(len(sent))]}
    async with serving() as server:
        answer = await server.send(*parts[pieces])
        (envelope,) = server.shelf.envelopes
        assert server.counts() == {"received": 1, "stored": 1, "refused": 0, "in_flight": 0}
    assert answer.status == 200
    assert " ".join((envelope.status_message or "").split()) == MESSAGE
    assert "\n" not in (envelope.status_message or "")
    assert (envelope.status, envelope.transaction_id, envelope.body) == (Status.FAILED, "t-1", BODY)


def test_each_fold_becomes_one_space() -> None:
    """With the white space on both sides of it (RFC 9112 5.2)."""
    head = b"POST / HTTP/1.1\r\nHost: h\r\nX: a \t\r\n \t b\n\tc  d\r\n\r\n"
    assert unfold(head) == b"POST / HTTP/1.1\r\nHost: h\r\nX: a b c  d\r\n\r\n"


async def test_a_folded_head_leaves_the_connection_open() -> None:
    """Before, between and behind ordinary ones, with bodies of every kind."""
    folded = FOLDED % b"\r\n at com.example.Driver" + BODY
    plain = HEAD + b"\r\n" + BODY
    chunked = HEAD.replace(b"Content-Length: 13", b"Transfer-Encoding: chunked") + b"\r\nd\r\n%b\r\n0\r\n\r\n" % BODY
    requests = [folded, plain, folded, chunked, folded, folded, plain]
    async with serving() as server:
        reader, writer = await server.open()
        for request in requests:
            writer.write(request)
            assert (await answer_from(reader)).status == 200
        writer.close()
        assert [envelope.body for envelope in server.shelf.envelopes] == [BODY] * len(requests)


async def test_in_one_packet_none_is_lost() -> None:
    """aiohttp forgets those that came before a head that it refuses."""
    folded = FOLDED % b"\r\n at com.example.Driver" + BODY
    plain = HEAD + b"\r\n" + BODY
    async with serving() as server:
        reader, writer = await server.open()
        writer.write(plain + folded + plain + folded)
        assert [(await answer_from(reader)).status for _ in range(4)] == [200] * 4
        writer.close()
        assert server.counts() == {"received": 4, "stored": 4, "refused": 0, "in_flight": 0}


@pytest.mark.parametrize(
    "body", [b"<a>\r\n\t<b/>\n <c/>\r\n\r\n</a>", b"x" * 200_000, b"POST / HTTP/1.1\r\n X: y\r\n\r\n"]
)
async def test_a_body_is_not_unfolded(body: bytes) -> None:
    """Whatever it looks like, in one packet with a folded head or behind it."""
    head = (FOLDED % b"\r\n at com.example.Driver").replace(b"Content-Length: 13", b"Content-Length: %d" % len(body))
    async with serving() as server:
        await server.send(head + body)
        await server.send(head, body)
        assert [envelope.body for envelope in server.shelf.envelopes] == [body, body]


REFUSED_FIELDS = {
    "NUL": b"ESC-Status-Message: a\0b\r\n",
    "control": b"ESC-Status-Message: a\x01b\r\n",
    "DEL": b"ESC-Status-Message: a\x7fb\r\n",
    "bare CR": b"ESC-Status-Message: a\rb\r\n",
    "space before colon": b"ESC-Status-Message : a\r\n",
    "empty name": b": a\r\n",
    "no colon": b"ESC-Status-Message a\r\n",
    "8-bit name": b"ESC-Status-M\xe9ssage: a\r\n",
    "bare LF": b"ESC-Status-Message: a\nX: b\r\n",
    "two hosts": b"Host: h\r\n",
}


@pytest.mark.parametrize("field", REFUSED_FIELDS.values(), ids=REFUSED_FIELDS)
@pytest.mark.parametrize("apart", [False, True], ids=["together", "body apart"])
async def test_what_is_no_http_is_kept_as_malformed(field: bytes, apart: bool) -> None:
    """With its fields and its body, in one counted place, under a receipt; the connection ends."""
    head = HEAD + field + b"ESC-Transaction-Id: t-1\r\n\r\n"
    async with serving() as server:
        answer = await server.send(*([head, BODY] if apart else [head + BODY]))
        (envelope,) = server.shelf.envelopes
        assert server.counts() == {"received": 1, "stored": 1, "refused": 0, "in_flight": 0}
        assert server.count("rejected_before_routing_total", reason="broken-head") == 0
    assert answer.status == 400
    assert answer.headers["esc-receipt-id"] == str(envelope.receipt)
    assert answer.headers["connection"] == "close"
    assert answer.json["outcome"] == "malformed"
    assert (envelope.undecodable_because or "").startswith("its head is not HTTP: ")
    assert (envelope.body, envelope.transaction_id, envelope.status_code) == (BODY, "t-1", 500)
    assert len(envelope.headers) >= 5


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace(b"\r\n", b"\n") + b"\n",
        HEAD.replace(b"Host: h\r\n", b"") + b"\r\n",
        HEAD.replace(b"\r\nHost", b"\r\n X: y\r\nHost") + b"\r\n",
        HEAD.replace(b"callback", b"callback?ref=a b") + b"\r\n",
        HEAD.replace(b"callback", b"callback?ref=\xe9\x01") + b"\r\n",
        HEAD.replace(b"/esc/default/callback", b"/") + b"No colon\r\n\r\n",
    ],
    ids=["bare LF", "no host", "fold of the request line", "space in ref", "8 bit in ref", "root"],
)
async def test_a_head_that_is_no_http_as_a_whole_is_kept_too(head: bytes) -> None:
    """As long as its first line names a callback path."""
    async with serving() as server:
        answer = await server.send(head + BODY)
        (envelope,) = server.shelf.envelopes
        assert server.counts() == {"received": 1, "stored": 1, "refused": 0, "in_flight": 0}
    assert (answer.status, answer.json["outcome"], envelope.body) == (400, "malformed", BODY)


SMUGGLING = {
    "two lengths": b"Content-Length: 13\r\n",
    "another length": b"Content-Length: 4\r\n",
    "length and chunked": b"Transfer-Encoding: chunked\r\n",
    "folded encoding": b"Transfer-Encoding:\r\n chunked\r\n",
    "folded length": b"Content-Length:\r\n 4\r\n",
    "length of a list": b"Content-Length: 13, 13\r\n",
    "length with a space before the colon": b"Content-Length : 4\r\n",
    "length behind a bare CR": b"X: a\rContent-Length: 4\r\n",
    "length behind a bare LF": b"X: a\nContent-Length: 4\r\n",
    "length with a NUL": b"Content-\0Length: 4\r\n",
    "encoding without a colon": b"Transfer-Encoding chunked\r\n",
}


@pytest.mark.parametrize("field", SMUGGLING.values(), ids=SMUGGLING)
async def test_what_leaves_the_end_of_the_body_open_is_refused_and_not_kept(field: bytes) -> None:
    """Also next to a fold, and a request behind it is not read."""
    for other in (b"", b"X: a\r\n b\r\n"):
        async with serving() as server:
            answer = await server.send(HEAD + other + field + b"\r\n" + BODY + HEAD + b"\r\n" + BODY)
            assert server.shelf.envelopes == []
            assert server.counts() == {"received": 0, "stored": 0, "refused": 0, "in_flight": 0}
            assert server.count("rejected_before_routing_total", reason="broken-head") == 1
        assert answer.status == 400


@pytest.mark.parametrize(
    "fields", [b"Transfer-Encoding:\r\n chunked\r\n", b"Content-Length:\n\t13\r\n", b"Content-Length: 1\r\n 3\r\n"]
)
async def test_a_fold_in_what_says_where_the_body_ends_is_refused(fields: bytes) -> None:
    """Also as the only such field."""
    async with serving() as server:
        answer = await server.send(HEAD.replace(b"Content-Length: 13\r\n", fields) + b"\r\n" + BODY)
        assert server.shelf.envelopes == []
        assert server.count("rejected_before_routing_total", reason="broken-head") == 1
    assert answer.status == 400


async def test_credentials_count_in_a_refused_head_too_and_are_not_kept() -> None:
    """Neither where they are good, nor in a field that is broken itself."""
    good, bad = b"Authorization: Basic ZXNjOnMzY3JldA==\r\n", b"Autho\0rization: Basic ZXNjOnMzY3JldA==\r\n"
    head = HEAD.replace(b"default", b"vault") + b"No colon\r\n"
    async with serving(sources={"vault": {"basic": ["esc:s3cret"]}}) as server:
        assert (await server.send(head + b"\r\n" + BODY)).status == 401
        assert server.shelf.envelopes == []
        assert (await server.send(head + good + bad + b"\r\n" + BODY)).json["outcome"] == "malformed"
        (envelope,) = server.shelf.envelopes
    assert [value for name, value in envelope.headers if name == "Authorization"] == ["***", "***"]
    assert "ZXNj" not in str(envelope)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (FOLDED % (b"\r\n x" * 16_000), "header-field-too-large"),
        (FOLDED[:150] + b"\r\n x" * 30_000, "header-too-large"),
        (HEAD + b"X: x\r\n x\r\n" * 200 + b"\r\n", "too-many-headers"),
        (HEAD + b"X: \0\r\n" * 200 + b"\r\n", "broken-head"),
        (HEAD + b"X: \0%b\r\n\r\n" % (b"x" * 40_000), "broken-head"),
    ],
    ids=["one folded field", "all fields", "their number", "number of a refused head", "field of a refused head"],
)
async def test_limits_of_a_head_hold_for_one_that_is_read_another_way(head: bytes, reason: str) -> None:
    """Of one field, of all, and of their number."""
    async with serving(header_bytes_max=70_000, header_field_bytes_max=30_000) as server:
        assert (await server.send(head + BODY)).status == (400 if reason == "broken-head" else 431)
        assert server.count("rejected_before_routing_total", reason=reason) == 1
        assert server.shelf.envelopes == []


async def test_a_refused_head_that_never_ends_is_counted() -> None:
    """When the connection does."""
    async with serving() as server:
        _, writer = await server.open()
        writer.write(HEAD + b"No colon\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        while not server.count("rejected_before_routing_total", reason="broken-head"):
            await server.request("GET", "/nowhere")
        assert server.counts()["received"] == 0


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/login", "/esc/default/callback/a/b", "/esc//callback"])
async def test_on_other_paths_a_refused_head_is_refused(path: str) -> None:
    """Nothing but the callback paths is reached by one."""
    async with serving() as server:
        answer = await server.send(HEAD.replace(b"/esc/default/callback", path.encode()) + b"No colon\r\n\r\n" + BODY)
        assert server.count("rejected_before_routing_total", reason="broken-head") == 1
    assert answer.status == 400


def test_the_callback_paths_are_those_of_the_routes() -> None:
    """The parser knows no routes; it must not miss one that ingress has."""
    paths = {route.path for route in Ingress.routes(Ingress.__new__(Ingress))}
    assert len(paths) == 5
    for path in paths:
        assert may_be_callback(b"POST %b HTTP/1.1\r\n" % sub(r"{(?:\w+:)?(\w+)}", r"\1", path).encode()), path
