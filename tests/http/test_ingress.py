"""The way in: paths, probes, limits, encodings, and who is turned away how."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from base64 import b64encode
from contextlib import suppress
from functools import partial
from uuid import UUID

import pytest

from receiver.config.settings import Settings
from receiver.errors import SetupError
from receiver.http.server import make_app, start_site
from receiver.model.notification import Channel, Outcome, Status
from receiver.observability.metrics import Metrics
from tests.support.ingress import answer_from, serving
from tests.support.samples import SAMPLES

compressed = partial(gzip.compress, mtime=0)  # the same bytes, and so the same names of tests, at any time
BODY = b"<deployment/>"
LAB = {"lab": {"tokens": ["old-token", "new-token"]}, "vault": {"basic": ["esc:s3cret"]}}


@pytest.mark.parametrize(
    ("path", "source", "channel"),
    [
        ("/esc/default/callback", "default", Channel.CALLBACK),
        ("/esc/default/events", "default", Channel.EVENTS),
        ("/esc/default/callback/some-token", "default", Channel.CALLBACK),
        ("/esc/lab/callback/old-token", "lab", Channel.CALLBACK),
        ("/esc/lab/events/new-token", "lab", Channel.EVENTS),
        ("/esc/l%61b/events/new%2Dtoken", "lab", Channel.EVENTS),
        ("/", "default", None),
    ],
)
async def test_a_callback_is_kept_and_receipted(path: str, source: str, channel: Channel | None) -> None:
    """On every POST path; the receipt stands in the body and in a header."""
    async with serving(sources=LAB) as server:
        answer = await server.request("POST", path, BODY)
        (envelope,) = server.shelf.envelopes
    assert answer.status == 200
    assert answer.json == {"receipt": str(envelope.receipt), "outcome": "applied"}
    assert answer.headers["esc-receipt-id"] == str(envelope.receipt)
    assert (envelope.source, envelope.channel, envelope.body, envelope.remote) == (source, channel, BODY, "127.0.0.1")


async def test_every_printed_callback_arrives_whole() -> None:
    """What the ESC document prints, posted to `/`: headers, status and bytes as sent."""
    async with serving() as server:
        for sample in SAMPLES.values():
            answer = await server.request("POST", "/", sample.body, list(sample.headers.items()))
            envelope = server.shelf.envelopes[-1]
            assert UUID(answer.json["receipt"]) == envelope.receipt
            assert [pair for pair in envelope.headers if pair[0] not in {"Host", "Content-Length"}] == list(
                sample.headers.items()
            )
            assert envelope.body == sample.body or envelope.redacted
        assert server.counts() == {
            "received": len(SAMPLES), "stored": len(SAMPLES), "refused": 0, "in_flight": 0,
        }  # fmt: skip


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_old_and_closing_clients_are_answered_in_their_way(version: str, connection: str) -> None:
    """HTTP/1.0, and connections that end after the answer."""
    head = f"POST / HTTP/{version}\r\nHost: h\r\nConnection: {connection}\r\nContent-Length: 4\r\n\r\n<a/>"
    async with serving() as server:
        reader, writer = await server.open()
        writer.write(head.encode())
        answer = await answer_from(reader)
        assert answer.json["outcome"] == "applied"
        if connection == "close":
            assert await reader.read() == b""
        else:
            writer.write(head.encode())
            assert (await answer_from(reader)).status == 200
        writer.close()


async def test_pipelined_callbacks_are_answered_in_order() -> None:
    """Several in one packet."""
    one = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n<%c/>"
    async with serving() as server:
        reader, writer = await server.open()
        writer.write(b"".join(one % letter for letter in b"abc"))
        answers = [await answer_from(reader) for _ in range(3)]
        writer.close()
        kept = {str(envelope.receipt): envelope.body for envelope in server.shelf.envelopes}
    assert [kept[answer.headers["esc-receipt-id"]] for answer in answers] == [b"<a/>", b"<b/>", b"<c/>"]


async def test_what_cannot_be_read_is_kept_and_said() -> None:
    """400 with the fault and the receipt under which it lies in quarantine."""
    async with serving() as server:
        answer = await server.request("POST", "/esc/default/callback")
        (envelope,) = server.shelf.envelopes
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["esc-receipt-id"] == str(envelope.receipt)
    assert answer.json == {
        "type": "urn:esc-receiver:problem:malformed",
        "title": "The body is kept, but it is no document that can be read",
        "status": 400,
        "detail": "the body is empty",
        "instance": f"urn:uuid:{envelope.receipt}",
        "receipt": str(envelope.receipt),
        "outcome": "malformed",
    }


@pytest.mark.parametrize("outcome", [Outcome.APPLIED, None], ids=["stored", "spooled"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_source_may_be_answered_204(outcome: Outcome | None, version: str) -> None:
    """The receipt stands in its header alone, also of what is in the spool; the connection goes on."""
    head = (
        f"POST /esc/sol/callback HTTP/{version}\r\nHost: h\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\n<a/>"
    )
    async with serving(sources={"sol": {"answer": 204}}) as server:
        server.shelf.outcome = outcome
        reader, writer = await server.open()
        for _ in range(2):
            writer.write(head.encode())
            answer = await answer_from(reader)
            assert (answer.status, answer.body) == (204, b"")
            assert answer.headers["esc-receipt-id"] == str(server.shelf.envelopes[-1].receipt)
            assert not {"content-type", "content-length", "transfer-encoding"} & set(answer.headers)
        writer.close()
        assert (await server.request("POST", "/esc/default/callback", BODY)).status == (200 if outcome else 202)


async def test_such_a_source_is_told_of_faults_as_any_other() -> None:
    """400 with its receipt, and refusals."""
    async with serving(sources={"sol": {"answer": 204, "tokens": ["t"]}}) as server:
        answer = await server.request("POST", "/esc/sol/callback/t")
        assert (answer.status, answer.json["outcome"]) == (400, "malformed")
        assert (await server.request("POST", "/esc/sol/callback", BODY)).status == 401
        assert (await server.request("POST", "/esc/sol/callback/t", BODY)).status == 204


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/esc/default/callback", 204),
        ("/esc/default/events/x", 204),
        ("/esc/lab/callback/old-token", 204),
        ("/esc/lab/callback", 401),
        ("/esc/lab/callback/wrong", 401),
        ("/esc/nowhere/callback", 404),
    ],
)
async def test_a_url_can_be_tried(method: str, path: str, status: int) -> None:
    """As ETSI SOL003 asks of notification targets; a probe is let in or not as a POST would be, and not counted."""
    async with serving(sources=LAB) as server:
        reader, writer = await server.open()
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        assert int((await reader.readline()).split()[1]) == status
        writer.close()
        assert server.counts() == {"received": 0, "stored": 0, "refused": 0, "in_flight": 0}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
async def test_other_methods_are_not_allowed(method: str) -> None:
    """And it says which are."""
    async with serving() as server:
        answer = await server.request(method, "/esc/default/callback")
        if method == "BREW":
            assert answer.status == 400
            return
        assert answer.status == 405
        assert {*answer.headers["allow"].split(",")} == {"GET", "HEAD", "POST"}
        assert answer.json["type"] == "urn:esc-receiver:problem:method-not-allowed"


async def test_no_such_path_is_a_problem_document_too() -> None:
    """It repeats nothing of the path, which might hold a token."""
    async with serving() as server:
        answer = await server.request("POST", "/esc/default/callbak/hunter2", BODY)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert b"hunter2" not in answer.body


@pytest.mark.parametrize(
    ("path", "status", "reason", "source"),
    [
        ("/esc/nowhere/callback", 404, "unknown-source", "(unknown)"),
        ("/esc/lab/callback", 401, "credentials", "lab"),
        ("/esc/lab/callback/hunter2", 401, "credentials", "lab"),
        ("/esc/vault/callback", 401, "credentials", "vault"),
        ("/esc/lan/callback", 403, "address", "lan"),
    ],
)
async def test_who_may_not_post_is_counted_and_not_kept(path: str, status: int, reason: str, source: str) -> None:
    """A name from outside never becomes a label; only Basic is answered with a challenge."""
    async with serving(sources=LAB | {"lan": {"allow": ["10.0.0.0/8"]}}, unknown_source="refuse") as server:
        answer = await server.request("POST", path, BODY)
        assert server.shelf.envelopes == []
        assert server.count("received_total", source=source, channel="callback") == 1
        assert server.count("refused_total", reason=reason) == 1
        assert server.counts() == {"received": 1, "stored": 0, "refused": 1, "in_flight": 0}
    assert answer.status == status
    assert ("www-authenticate" in answer.headers) == (source == "vault")
    assert b"hunter2" not in answer.body


async def test_basic_credentials_let_in_and_are_not_kept() -> None:
    """The header is kept without its value."""
    authorization = "Basic " + b64encode(b"esc:s3cret").decode()
    async with serving(sources=LAB) as server:
        answer = await server.request("POST", "/esc/vault/callback", BODY, [("Authorization", authorization)])
        (envelope,) = server.shelf.envelopes
    assert answer.status == 200
    assert ("Authorization", "***") in envelope.headers


async def test_the_default_source_may_ask_for_a_token() -> None:
    """Then `/`, which has no room for one, is closed."""
    async with serving(sources={"default": {"tokens": ["t"]}}) as server:
        assert (await server.request("POST", "/", BODY)).status == 401
        assert (await server.request("POST", "/esc/default/callback/t", BODY)).status == 200


async def test_without_a_default_source_the_root_is_unknown() -> None:
    """Switched off is off."""
    async with serving(default_source=None, sources=LAB) as server:
        assert (await server.request("POST", "/", BODY)).status == 404


async def test_behind_a_trusted_proxy_the_sender_is_the_one_it_names() -> None:
    """That is the address that is kept."""
    async with serving(trusted_proxies=["127.0.0.1"]) as server:
        await server.request("POST", "/", BODY, [("X-Forwarded-For", "10.9.8.7")])
        assert server.shelf.envelopes[0].remote == "10.9.8.7"


@pytest.mark.parametrize(
    ("query", "ref", "notes"),
    [
        ("", None, ()),
        ("?", None, ()),
        ("?other=1", None, ()),
        ("?ref=", None, ()),
        ("?ref=order%2042&x=y", "order 42", ()),
        ("?ref=Gr%C3%BC%C3%9Fe", "Grüße", ()),
        ("?ref=a%00b", "a\\x00b", ()),
        ("?ref=12345678901", "1234567890", ("ref-cut",)),
    ],
)
async def test_the_callers_own_reference_is_kept(query: str, ref: str | None, notes: tuple[str, ...]) -> None:
    """Made fit for a text column, and no longer than allowed."""
    async with serving(ref_characters_max=10) as server:
        assert (await server.request("POST", f"/esc/default/callback{query}", BODY)).status == 200
        (envelope,) = server.shelf.envelopes
    assert (envelope.ref, envelope.notes) == (ref, notes)


async def test_header_fields_of_64_kib_get_through() -> None:
    """ESC concatenates messages into one; and bytes that are no UTF-8 are neither lost nor a failure."""
    message = b"Error Messages: " + b"x" * 65_000 + b"\xff"
    async with serving() as server:
        answer = await server.request("POST", "/", BODY, [("ESC-Status-Message", message), ("ESC-Status-Code", "500")])
        (envelope,) = server.shelf.envelopes
    assert answer.status == 200
    assert envelope.status_message == message.decode("utf-8", "backslashreplace")
    assert (envelope.status, envelope.status_code) == (Status.FAILED, 500)


@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        (b"POST /%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"x" * 9_000), 414, "request-line-too-long"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nX: %b\r\n\r\n" % (b"x" * 70_000), 431, "header-field-too-large"),
        (b"POST / HTTP/1.1\r\nHost: h\r\n%b: x\r\n\r\n" % (b"x" * 70_000), 431, "header-field-too-large"),
        (b"POST / HTTP/1.1\r\nHost: h\r\n%b\r\n" % (b"X: x\r\n" * 200), 431, "too-many-headers"),
        (b"PUT / HTTP/1.1\r\nHost h hunter2\r\n\r\n", 400, "broken-head"),
        (b"PUT / HTTP/1.1\r\n\r\n", 400, "broken-head"),
        (b"hunter2\r\n\r\n", 400, "broken-head"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hunter2", 400, "broken-head"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n", 400, "broken-head"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400, "broken-head"),
        (b"POST /nowhere HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", 400, "broken-head"),
    ],
)
async def test_a_head_that_is_no_request_is_answered_and_counted_apart(head: bytes, status: int, reason: str) -> None:
    """With a problem document that repeats none of its bytes."""
    async with serving() as server:
        answer = await server.send(head)
        assert server.count("rejected_before_routing_total", reason=reason) == 1
        assert server.counts() == {"received": 0, "stored": 0, "refused": 0, "in_flight": 0}
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == status
    assert b"hunter2" not in answer.body
    assert b"xxx" not in answer.body


async def test_too_large_a_header_in_all_is_refused() -> None:
    """Each field may be right by itself. (A head that is larger by a request line is refused before it is complete.)"""
    fields = [(f"X-{number}", "x" * 53_000) for number in range(5)]
    async with serving() as server:
        answer = await server.request("POST", "/", BODY, fields)
        assert server.count("refused_total", reason="header-too-large") == 1
    assert answer.status == 431
    assert answer.json["setting"] == "header_bytes_max"


async def test_a_head_is_weighed_before_it_is_complete() -> None:
    """Many fields at their limit would take megabytes of every connection."""
    async with serving(header_bytes_max=70_000) as server:
        reader, writer = await server.open()
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\n" + b"X: %b\r\n" % (b"x" * 60_000) * 3)
        answer = await answer_from(reader)
        assert (answer.status, answer.json["setting"]) == (431, "header_bytes_max")
        writer.close()
        assert server.count("rejected_before_routing_total", reason="header-too-large") == 1


async def test_a_head_behind_a_request_is_weighed_too() -> None:
    """The request before it is kept, and then the connection ends, perhaps abruptly: it is not read any more."""
    async with serving(header_bytes_max=70_000) as server:
        reader, writer = await server.open()
        server.shelf.gate.clear()
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n<a/>")
        await server.shelf.reached.wait()
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\n" + b"X: %b\r\n" % (b"x" * 60_000) * 3)
        await writer.drain()
        server.shelf.gate.set()
        with suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        assert server.count("rejected_before_routing_total", reason="header-too-large") == 1
        assert server.counts() == {"received": 1, "stored": 1, "refused": 0, "in_flight": 0}


async def test_a_body_up_to_the_limit_is_kept() -> None:
    """Byte for byte, though it comes in many packets."""
    body = b"<a>" + b"x" * (1_048_576 - 7) + b"</a>"
    async with serving() as server:
        assert (await server.request("POST", "/", body)).status == 200
        assert server.shelf.envelopes[0].body == body


async def test_a_declared_length_over_the_limit_is_refused_before_it_is_sent() -> None:
    """Nothing of it is waited for."""
    async with serving(body_bytes_max=10) as server:
        answer = await server.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n")
        assert server.count("refused_total", reason="body-too-large") == 1
    assert answer.status == 413
    assert answer.json["setting"] == "body_bytes_max"


async def test_chunks_over_the_limit_are_refused() -> None:
    """A body that does not say how long it is."""
    chunk = b"8\r\n12345678\r\n"
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(body_bytes_max=10) as server:
        assert (await server.send(head, chunk, chunk, b"0\r\n\r\n")).status == 413
        assert (await server.send(head, chunk, b"0\r\n\r\n")).status == 200
        assert server.shelf.envelopes[0].body == b"12345678"


def raw_deflate(body: bytes) -> bytes:
    """Without the header that RFC 9110 asks for, as some send it."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


@pytest.mark.parametrize(
    ("encoding", "sent"),
    [
        ("identity", BODY),
        ("gzip", compressed(BODY)),
        ("GZIP", compressed(BODY)),
        ("x-gzip", compressed(BODY[:5]) + compressed(BODY[5:])),
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflate(BODY)),
        ("identity, gzip", compressed(BODY)),
    ],
)
async def test_content_encoding_is_undone(encoding: str, sent: bytes) -> None:
    """What is kept is the body, not its wrapping."""
    async with serving() as server:
        answer = await server.request("POST", "/", sent, [("Content-Encoding", encoding)])
        assert answer.status == 200
        assert server.shelf.envelopes[0].body == BODY


@pytest.mark.parametrize(
    ("encoding", "sent", "fault"),
    [
        ("gzip", BODY, "the body is not what its Content-Encoding says"),
        ("gzip", compressed(BODY)[:-3], "the body ends before its Content-Encoding does"),
        ("gzip", compressed(BODY) + b"rest", "the body is not what its Content-Encoding says"),
        ("deflate", b"\xff" * 20, "the body is not what its Content-Encoding says"),
        ("br", b"\x0b\x02\x80abc\x03", "unknown Content-Encoding"),
        ("gzip, gzip", compressed(compressed(BODY)), "more than one Content-Encoding"),
        ("gzip", b"", "the body ends before its Content-Encoding does"),
        ("gzip", compressed(b"") * 60 + compressed(BODY), "the body has more than 16 gzip members"),
    ],
)
async def test_a_body_that_cannot_be_decoded_is_kept_as_received(encoding: str, sent: bytes, fault: str) -> None:
    """As malformed, and it says why."""
    async with serving() as server:
        answer = await server.request("POST", "/", sent, [("Content-Encoding", encoding)])
        (envelope,) = server.shelf.envelopes
    assert answer.status == 400
    assert answer.json["detail"].startswith(fault)
    assert envelope.body == sent
    assert (envelope.undecodable_because or "").startswith(fault)


async def test_a_body_is_limited_by_what_it_unpacks_to() -> None:
    """A bomb of 1 GB is refused after a megabyte."""
    async with serving() as server:
        answer = await server.request("POST", "/", compressed(b"\0" * 2_000_000), [("Content-Encoding", "gzip")])
        assert server.counts() == {"received": 1, "stored": 0, "refused": 1, "in_flight": 0}
    assert answer.status == 413


async def test_a_slow_body_is_refused() -> None:
    """It never ends: the timeout is what ends it."""
    async with serving(body_timeout_s=0.05) as server:
        answer = await server.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345")
        assert server.count("refused_total", reason="body-too-slow") == 1
    assert answer.status == 408
    assert answer.json["setting"] == "body_timeout_s"
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("broken", [b"zz\r\n", b"5\r\nabcdefgh\r\n", b"-1\r\n"])
async def test_a_broken_transfer_encoding_is_refused_at_once(broken: bytes) -> None:
    """Not when the timeout is over; and it is counted once, as a callback."""
    async with serving(body_timeout_s=3600) as server:
        reader, writer = await server.open()
        await begin(reader, writer, b"Transfer-Encoding: chunked")
        writer.write(b"3\r\nabc\r\n" + broken)
        answer = await answer_from(reader)
        assert await reader.read() == b""
        writer.close()
        assert server.count("refused_total", reason="body-cut-off") == 1
        assert server.count("rejected_before_routing_total", reason="broken-head") == 0
        assert server.counts() == {"received": 1, "stored": 0, "refused": 1, "in_flight": 0}
    assert answer.status == 400
    assert answer.json["type"] == "urn:esc-receiver:problem:body-cut-off"


async def test_a_body_cut_off_is_counted() -> None:
    """Nobody is left to be told."""
    async with serving() as server:
        reader, writer = await server.open()
        await begin(reader, writer, b"Content-Length: 10")
        writer.write(b"12345")
        writer.close()
        await writer.wait_closed()
    # The server has ended, so whatever it had to do is done.
    assert server.count("refused_total", reason="body-cut-off") == 1
    assert server.counts() == {"received": 1, "stored": 0, "refused": 1, "in_flight": 0}


async def test_a_sender_that_waits_for_a_word_gets_it() -> None:
    """`Expect: 100-continue`."""
    async with serving() as server:
        reader, writer = await server.open()
        await begin(reader, writer, b"Content-Length: 4")
        writer.write(b"<a/>")
        assert (await answer_from(reader)).status == 200
        writer.close()


async def test_a_sender_that_waits_in_vain_is_told_at_once() -> None:
    """A body that would be refused is not asked for."""
    head = b"POST /esc/%b/callback HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nExpect: %b\r\n\r\n"
    async with serving(body_bytes_max=10, unknown_source="refuse") as server:
        assert (await server.send(head % (b"default", 11, b"100-continue"))).status == 413
        assert (await server.send(head % (b"nowhere", 4, b"100-continue"))).status == 404
        assert (await server.send(head % (b"default", 4, b"nothing-special"), b"<a/>")).status == 200


async def test_what_cannot_be_kept_is_not_acknowledged() -> None:
    """503, and when to come again."""
    async with serving(retry_after_s=7) as server:
        server.shelf.full = True
        answer = await server.request("POST", "/", BODY)
        assert server.count("refused_total", reason="cannot-keep") == 1
        assert server.counts() == {"received": 1, "stored": 0, "refused": 1, "in_flight": 0}
    assert answer.status == 503
    assert answer.headers["retry-after"] == "7"


async def test_a_callback_on_its_way_is_in_flight() -> None:
    """At any moment the counts add up."""
    async with serving() as server:
        server.shelf.gate.clear()
        waiting = asyncio.create_task(server.request("POST", "/", BODY))
        await server.shelf.reached.wait()
        assert server.counts() == {"received": 1, "stored": 0, "refused": 0, "in_flight": 1}
        server.shelf.gate.set()
        assert (await waiting).status == 200
        assert server.counts() == {"received": 1, "stored": 1, "refused": 0, "in_flight": 0}


async def test_a_secret_never_reaches_the_keeper() -> None:
    """Small or large, decoded or not."""
    small = b"<vim><os_password>hunter2</os_password></vim>"
    large = b"<vim><os_password>hunter2</os_password>" + b"<x/>" * 30_000 + b"</vim>"
    async with serving() as server:
        await server.request("POST", "/", small)
        await server.request("POST", "/", large)
        await server.request("POST", "/", small, [("Content-Encoding", "rot13")])
        await server.request("POST", "/", compressed(small), [("Content-Encoding", "gzip")])
        assert [envelope.redacted for envelope in server.shelf.envelopes] == [True] * 4
        assert not [envelope for envelope in server.shelf.envelopes if b"hunter2" in envelope.body]


async def test_more_connections_than_allowed_are_turned_away() -> None:
    """At once, with a word when to come again; one that ends makes room."""
    async with serving(connections_max=1, retry_after_s=7) as server:
        reader, writer = await server.open()
        answer = await server.send()
        assert (answer.status, answer.headers["retry-after"]) == (503, "7")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["setting"] == "connections_max"
        assert server.count("rejected_before_routing_total", reason="too-many-connections") == 1
        writer.write(b"GET /esc/default/callback HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert b" 204 " in await reader.read()
        writer.close()
        assert (await server.request("POST", "/", BODY)).status == 200


async def test_a_port_that_is_taken_is_one_clear_line() -> None:
    """It names the setting."""
    async with serving() as server:
        settings = Settings(port=server.port)
        with pytest.raises(SetupError, match=f"127.0.0.1:{server.port} is taken .* ESC_RECEIVER_PORT"):
            await start_site(make_app([], settings), settings, Metrics())


async def test_an_address_that_is_not_ours_is_one_clear_line() -> None:
    """It names the setting."""
    settings = Settings(host="192.0.2.1", port=0)
    with pytest.raises(SetupError, match="ESC_RECEIVER_HOST"):
        await start_site(make_app([], settings), settings, Metrics())


async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, field: bytes) -> None:
    """Sends a head, and waits until the server waits for the body."""
    writer.write(b"POST / HTTP/1.1\r\nHost: h\r\n" + field + b"\r\nExpect: 100-continue\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
