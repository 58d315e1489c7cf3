"""A stored callback is parsed again as if it had just arrived: only its body and header are used.

Must not know SQL beyond the names of columns, nor what is done with what it says.
"""

from __future__ import annotations

from receiver.config.settings import Settings
from receiver.errors import LimitError, NotXmlError, UndecodableBodyError
from receiver.model.envelope import Envelope
from receiver.parsing.content_encoding import decode_body
from receiver.parsing.parsed_callback import ParsedCallback
from receiver.parsing.parser import parse
from receiver.redaction.redactor import Redactor


def read_again(envelope: Envelope, settings: Settings) -> ParsedCallback:
    """The callback as this version reads it."""
    try:
        return ParsedCallback(envelope, parse(envelope, settings.xml_depth_max))
    except NotXmlError as error:
        return _unpacked(envelope, settings) or ParsedCallback(envelope, malformed=str(error))


def _unpacked(envelope: Envelope, settings: Settings) -> ParsedCallback | None:
    """The callback, if its body was stored as received because its Content-Encoding could not be decoded then."""
    encodings = [value for name, value in envelope.headers if name.lower() == "content-encoding"]
    if not encodings:
        return None
    try:
        redactor = Redactor(settings.secret_names, settings.redaction_tokens_max)
        body, _ = redactor.redact(decode_body(envelope.body, ",".join(encodings), settings.body_bytes_max))
        return ParsedCallback(envelope, parse(envelope._replace(body=body), settings.xml_depth_max))
    except (NotXmlError, UndecodableBodyError, LimitError):
        return None
