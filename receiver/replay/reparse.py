"""A kept callback, opened and read again as if it had just arrived: bytes and header are kept, all else is made anew.

Must not know SQL beyond the names of columns, nor what is done with what it says.
"""

from __future__ import annotations

from receiver.config.settings import Settings
from receiver.errors import LimitError, NotXmlError, UndecodableBodyError
from receiver.model.envelope import Envelope
from receiver.parsing.content_encoding import decode_body
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.parsing.parser import parse
from receiver.redaction.redactor import redact


def read_again(envelope: Envelope, settings: Settings) -> ParsedCallback:
    """What it says today."""
    try:
        return ParsedCallback(envelope, parse(envelope, settings.xml_depth_max))
    except NotXmlError as error:
        return _unpacked(envelope, settings) or ParsedCallback(envelope, malformed=str(error))


def _unpacked(envelope: Envelope, settings: Settings) -> ParsedCallback | None:
    """The letter, where the body was kept as received because nobody could undo its Content-Encoding then."""
    encodings = [value for name, value in envelope.headers if name.lower() == "content-encoding"]
    if not encodings:
        return None
    try:
        body, _ = redact(decode_body(envelope.body, ",".join(encodings), settings.body_bytes_max))
        return ParsedCallback(envelope, parse(envelope._replace(body=body), settings.xml_depth_max))
    except (NotXmlError, UndecodableBodyError, LimitError):
        return None
