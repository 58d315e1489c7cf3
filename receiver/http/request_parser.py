"""aiohttp's parser of requests, which gets a second chance at a head that it refuses (`head_recovery`).

A head is read another way only where it is certain that the bytes at hand begin with it: at the start of a connection,
and behind a request that ended where the bytes did. Ordinary requests are not copied. Must not know sockets or answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from aiohttp import StreamReader, hdrs
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage

from receiver.http.head_recovery import HEAD_END, RefusedHead, may_be_callback, salvage, unfold

Parsed = tuple[Any, bool, bytes]
"""The messages of a portion, whether the protocol is another from here on, and the rest."""

Request = tuple[RawRequestMessage, StreamReader]
Take = Callable[[RawRequestMessage, StreamReader], Request | None]

_NOTHING: Final[Parsed] = ((), False, b"")
_HEAD_END: Final = b"\r\n\r\n"


class RequestParser:
    """Stands where aiohttp has its own parser."""

    def __init__(
        self, make: Callable[[], HttpRequestParser], fields_max: int, field_bytes_max: int, take: Take | None = None
    ) -> None:
        """`take` is offered each request that comes as a whole and alone, and says what it leaves of it."""
        self._make = make
        self._take = take
        self._parser = make()
        self._limits = fields_max, field_bytes_max
        self._pieces: list[bytes] = []
        """Of the head under way."""
        self.head_bytes = 0
        """Their size."""
        self._payload: StreamReader | None = None
        """The body under way."""
        self._ends_at = 0
        """How many bytes the request under way has, its body left out."""
        self._fed = 0
        self._chunked = False
        self._certain = True
        """Whether a request begins with the next byte when none is under way."""
        self._refusal: HttpProcessingError | None = None
        """Why the head under way was refused; its end is waited for."""
        self.unread: deque[bytes] = deque()
        """What came behind a head that was read another way: to be fed next."""

    def feed_data(self, data: bytes) -> Parsed:
        """As aiohttp's."""
        if self._refusal is not None:
            return self._wait_for_end(data, self._refusal)
        try:
            result: Parsed = self._parser.feed_data(data)
        except HttpProcessingError as error:
            if self._payload is not None or not self._certain or _is_limit(error):
                raise
            return self._read_another_way(data, error)
        if result[0]:
            self._begin(data, result[0])
            if self._take is not None and self._payload is None and not result[1] and len(result[0]) == 1:
                return self._offer(self._take, result)
        elif self._payload is None:
            self._pieces.append(data)
            self.head_bytes += len(data)
        else:
            self._fed += len(data)
            if self._payload.is_eof():
                self._end(data)
        return result

    def _offer(self, take: Take, result: Parsed) -> Parsed:
        """What is taken is none of aiohttp's business any more."""
        ((message, payload),) = result[0]
        if left := take(message, payload):
            return [left], False, result[2]
        self._parser.message_consumed()
        return _NOTHING

    @property
    def refused_unfinished(self) -> bool:
        """Whether a head was refused whose end has not come."""
        return self._refusal is not None

    def message_consumed(self) -> None:
        """As aiohttp's."""
        self._parser.message_consumed()

    def pause_reading(self) -> None:
        """As aiohttp's."""
        self._parser.pause_reading()

    def set_upgraded(self, upgraded: bool) -> None:
        """As aiohttp's."""
        self._parser.set_upgraded(upgraded)

    def _begin(self, data: bytes, messages: Any) -> None:
        if len(messages) > 1 or self._payload is not None:
            self._certain = False
        if self._pieces:
            data = b"".join((*self._pieces, data))
            self._pieces.clear()
            self.head_bytes = 0
        message, self._payload = messages[-1]
        self._chunked = message.chunked
        self._ends_at = data.find(_HEAD_END) + len(_HEAD_END)
        self._fed = len(data)
        if self._payload.is_eof():
            self._end(data)

    def _end(self, data: bytes) -> None:
        """A request is complete; behind the last chunk nothing but a complete head can end like a chunk."""
        assert self._payload is not None
        if self._chunked:
            self._certain &= data.endswith(_HEAD_END)
        elif self._ends_at + self._payload.total_bytes != self._fed:
            self._certain = False
        self._payload = None

    def _wait_for_end(self, data: bytes, error: HttpProcessingError) -> Parsed:
        if b"\n" in data:
            return self._read_another_way(data, error)
        self._pieces.append(data)
        self.head_bytes += len(data)
        return _NOTHING

    def _read_another_way(self, data: bytes, error: HttpProcessingError) -> Parsed:
        """Read the head under way as `head_recovery` does, as soon as it is complete; raises `error` when it cannot."""
        self._pieces.append(data)
        whole = b"".join(self._pieces).lstrip(b"\r\n")
        self._refusal, self._pieces, self.head_bytes = None, [], 0
        if not may_be_callback(whole):
            raise error
        end = HEAD_END.search(whole)
        if end is None:
            self._refusal, self._pieces, self.head_bytes = error, [whole], len(whole)
            return _NOTHING
        return self._begin_anew(whole[: end.end()], whole[end.end() :], error)

    def _begin_anew(self, head: bytes, behind: bytes, error: HttpProcessingError) -> Parsed:
        message, payload, good = self._unfolded(head) or self._salvaged(head, error)
        self._begin(good, [(message, payload)])
        length = int(message.headers.get(hdrs.CONTENT_LENGTH, len(behind)))
        self.unread.extendleft(part for part in (behind[length:], behind[:length]) if part)
        return [(message, payload)], False, b""

    def _unfolded(self, head: bytes) -> tuple[RawRequestMessage, StreamReader, bytes] | None:
        """Without its folds; also a good head that came before a refused one."""
        good = unfold(head) or head
        try:
            return *self._parsed_anew(good), good
        except HttpProcessingError as error:
            if _is_limit(error):
                raise
            return None

    def _salvaged(self, head: bytes, error: HttpProcessingError) -> tuple[RawRequestMessage, StreamReader, bytes]:
        found = salvage(head, _describe(error), *self._limits)
        if found is None:
            raise error
        try:
            message, payload = self._parsed_anew(found.head)
        except HttpProcessingError:
            raise error from None
        return message._replace(raw_headers=found.fields), payload, found.head

    def _parsed_anew(self, head: bytes) -> tuple[RawRequestMessage, StreamReader]:
        self._parser = self._make()
        messages = self._parser.feed_data(head)[0]
        if len(messages) != 1:
            raise HttpProcessingError
        message, payload = messages[0]
        return message, payload


def refusal_of(fields: Any) -> str | None:
    """Why the head with these fields is not HTTP; None when it is."""
    return fields.because if isinstance(fields, RefusedHead) else None


def _is_limit(error: HttpProcessingError) -> bool:
    return isinstance(error, LineTooLong) or "Too many headers" in str(error)


def _describe(error: HttpProcessingError) -> str:
    """The parser's reason without the bytes that it quotes."""
    return f"its head is not HTTP: {error.message.partition(':')[0]}"
