"""Hostile heads, header fields and query strings."""

from __future__ import annotations

from collections.abc import Mapping

PATH = b"/esc/default/callback"
END = b"\r\n\r\n"


def fields() -> Mapping[str, dict[str, str]]:
    """Header fields beside those of an ordinary request."""
    return {
        "a transaction id of 60 kB": {"ESC_Transaction_Id": "x" * 60_000},
        "a status code of 5,000 digits": {"ESC_Status_Code": "2" * 5000},
        "a status code of many kinds of digit": {"ESC_Status_Code": "²٣４"},
        "a status message with terminal escapes": {"ESC_Status_Message": "\x1b]0;x\u009b31m\u202e"},
        "a status message with secrets": {"ESC_Status_Message": "password=hunter2 " * 3000},
        "a status message of names": {"ESC_Status_Message": "a." * 30_000},
        "addresses": {"X_Forwarded_For": "1.2.3.4," * 7000},
        "an address of 60 kB": {"X_Forwarded_For": "1" * 60_000},
        "Basic of 60 kB": {"Authorization": f"Basic {'YTpi' * 15_000}"},
        "Basic of nothing": {"Authorization": "Basic"},
        "a cookie of 60 kB": {"Cookie": "a=b;" * 15_000},
        "a traceparent of 60 kB": {"Traceparent": "00-" * 20_000},
        "a content type of 60 kB": {"Content_Type": "application/xml;" * 3500},
        "an unknown expectation": {"Expect": "200-maybe"},
        "an upgrade": {"Connection": "upgrade", "Upgrade": "websocket"},
        "a field that is no UTF-8": {"X_A": "\udcff\udcfe" * 1000},
        "120 fields": {f"X_{number}": "y" for number in range(120)},
        "127 fields of 2 kB": {f"X_{number}": "y" * 1900 for number in range(120)},
        "300 fields": {f"X_{number}": "y" for number in range(300)},
        "a field of 70 kB": {"X_A": "y" * 70_000},
        "fields of 300 kB": {f"X_{number}": "y" * 60_000 for number in range(5)},
        "a name of 60 kB": {"X" * 60_000: "y"},
    }


def queries() -> Mapping[str, str]:
    """Query strings."""
    return {
        "of 8 kB": f"ref={'x' * 8000}",
        "too long": f"ref={'x' * 9000}",
        "a NUL": "ref=%00",
        "terminal escapes": "ref=%1b%5d0;x%07%c2%9b%e2%80%ae",
        "no UTF-8": "ref=%ff%fe%ed%a0%80",
        "half an escape": "ref=%&limit=%2&since=%u0041",
        "a secret": "ref=password%3Dhunter2&token=hunter2",
        "many names": "&".join(f"a{number}=1" for number in range(900)),
        "many of one": "&".join(["ref=1"] * 900),
        "ampersands": "&" * 8000,
        "signs": "=" * 8000,
        "semicolons": "limit=5;since=x",
        "a huge number": f"limit={'9' * 5000}",
        "other digits": "limit=%D9%A3",
        "a time of another world": "since=9999-12-31T23:59:59-23:59&until=0001-01-01T00:00:00%2B23:59",
        "SQL": "source=%27;DROP%20TABLE%20callbacks--&cursor=%27",
        "a cursor": f"cursor={'1.' * 4000}",
        "a fragment": "ref=1#x",
    }


def requests() -> Mapping[str, bytes]:
    """Whole requests, right or wrong."""
    start = b"POST " + PATH + b" HTTP/1.1\r\nHost: x\r\n"
    return {
        "nothing": b"\r\n\r\n\r\n",
        "no HTTP": b"hello\r\n\r\n",
        "NULs": b"\0" * 1000 + END,
        "TLS": bytes.fromhex("16030100f4010000f00303") + b"\xff" * 200,
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/0.9": b"GET /\r\n\r\n",
        "HTTP/1.0": b"POST " + PATH + b" HTTP/1.0\r\nContent-Length: 4\r\n\r\n<a/>",
        "an unknown version": b"POST " + PATH + b" HTTP/9.9\r\nContent-Length: 4\r\n\r\n<a/>",
        "CONNECT": b"CONNECT example:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS of all": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "an unknown method": b"BREW " + PATH + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        "an absolute target": b"POST http://a:b@c" + PATH + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n<a/>",
        "a path that climbs": b"POST /esc/../../etc/passwd HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        "a path with NUL": b"POST /esc/%00/callback HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        "a path that is no UTF-8": b"POST /esc/\xff\xfe/callback HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        "a path of 10 kB": b"POST /esc/" + b"a" * 10_000 + b"/callback HTTP/1.1\r\nHost: x\r\n\r\n",
        "a field without name": start + b": x\r\nContent-Length: 4\r\n\r\n<a/>",
        "a field with NUL": start + b"X: a\0b\r\nContent-Length: 4\r\n\r\n<a/>",
        "a folded field": start + b"X: a\r\n b\r\nContent-Length: 4\r\n\r\n<a/>",
        "bare line feeds": start.replace(b"\r", b"") + b"Content-Length: 4\n\n<a/>",
        "two lengths": start + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n<a/>x",
        "a negative length": start + b"Content-Length: -1\r\n\r\n<a/>",
        "a signed length": start + b"Content-Length: +4\r\n\r\n<a/>",
        "a huge length": start + b"Content-Length: " + b"9" * 30 + END,
        "a length of 5,000 digits": start + b"Content-Length: " + b"9" * 5000 + END,
        "a length and chunks": start + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<a/>\r\n0\r\n\r\n",
        "an unknown transfer": start + b"Transfer-Encoding: gzip\r\n\r\n<a/>",
        "chunks": start + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 200_000 + b"0\r\n\r\n",
        "a chunk of huge size": start + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 32 + b"\r\n",
        "a chunk of no size": start + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "a chunk's extension": start
        + b"Transfer-Encoding: chunked\r\n\r\n4;"
        + b"a=b;" * 2000
        + b"\r\n<a/>\r\n0\r\n\r\n",
        "trailers": start + b"Transfer-Encoding: chunked\r\n\r\n4\r\n<a/>\r\n0\r\nX: y\r\n\r\n",
        "100 requests in a line": (start + b"Content-Length: 4\r\n\r\n<a/>") * 100,
        "a body cut off": start + b"Content-Length: 400\r\n\r\n<a/>",
    }
