"""The process in which large bodies are read: frames on standard input, answers on standard output, until it is closed.

A frame is the length of its values, the length of its bytes, the values (`marshal`), the bytes. The first frame holds
the `Limits`; each other one a body: to be stored and read, or only to be read. It is started by `body_readers` with
none of the receiver's settings in its environment. Must not know who asks, nor what the answers are for.
"""

from __future__ import annotations

import marshal
import signal
import sys
from struct import Struct
from typing import IO, Any, Final

from receiver.errors import BodyTooLargeError
from receiver.parsing.reading import Limits, read_document, store_and_read, to_values

LENGTHS: Final = Struct("!II")
PROGRAM: Final = "import sys; sys.path[:] = sys.argv[1:]; from receiver.parsing.reader_process import main; main()"
"""To be run with the receiver's own `sys.path` as its arguments."""


def frame(values: Any, body: bytes = b"") -> bytes:
    """One message."""
    packed = marshal.dumps(values)
    return LENGTHS.pack(len(packed), len(body)) + packed + body


def main() -> None:
    """Answer until standard input ends, which it does with the receiver, however that ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _serve(sys.stdin.buffer, sys.stdout.buffer)


def _serve(source: IO[bytes], sink: IO[bytes]) -> None:
    first = _next(source)
    if first is None:
        return
    limits = Limits(*first[0])
    redactor = limits.redactor()
    while message := _next(source):
        (stores, encoding), body = message
        answer = (
            _stored(body, encoding, redactor, limits)
            if stores
            else frame(to_values(read_document(body, limits.xml_depth_max)))
        )
        sink.write(answer)
        sink.flush()


def _stored(sent: bytes, encoding: str | None, redactor: Any, limits: Limits) -> bytes:
    """The answer holds the body only if it is another than was sent."""
    try:
        (body, redacted, fault), reading = store_and_read(sent, encoding, redactor, limits)
    except BodyTooLargeError as error:
        return frame((str(error),))
    is_same = body == sent
    return frame((None, is_same, redacted, fault, to_values(reading)), b"" if is_same else body)


def _next(source: IO[bytes]) -> tuple[Any, bytes] | None:
    lengths = source.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    values, body = (source.read(length) for length in LENGTHS.unpack(lengths))
    return marshal.loads(values), body  # noqa: S302 - of the receiver
