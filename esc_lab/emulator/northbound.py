"""The northbound API over HTTP: every row of the table as a route under both base paths.

Reads requests, asks the handlers, writes answers. It must not know what an operation does.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web
from yarl import URL

from esc_lab.emulator.answer_faults import spoilt
from esc_lab.emulator.body_schemas import BodyError
from esc_lab.emulator.codec import (
    Body,
    LanguageError,
    language_of,
    read_body,
    read_text,
    wanted_language,
    write_body,
    write_list,
)
from esc_lab.emulator.datamodel_text import in_other_language
from esc_lab.emulator.endpoint_model import BASES, Need, Row
from esc_lab.emulator.endpoint_tables import ROWS
from esc_lab.emulator.engine import Engine
from esc_lab.emulator.esc import Esc
from esc_lab.emulator.models import MODELS
from esc_lab.emulator.refusal import RefusalError, Wrong, invalid
from esc_lab.emulator.work_items import Call, Reply
from esc_lab.emulator.world import Urls

log = structlog.get_logger()

TRANSACTION = "esc-transaction-id"
"""The header of an accepted request, as the document's text spells it."""
CALLBACK, EVENTS = "Callback", "Callback-ESC-Events"
URL_MAX = 2048
_STANDS_FOR = re.compile(r"\[\w+Name\]|^'")
"""A reason of the document that stands for texts with a name in them, or for one of several (chapter 17)."""
SPOILT = frozenset({"list_deployments", "get_deployment"})
"""Operations whose answers may go wrong on purpose."""
BODY_BYTES_MAX = 4 * 1024 * 1024


class Northbound:
    """The API of one ESC."""

    def __init__(self, esc: Esc, engine: Engine) -> None:
        self._esc = esc
        self._engine = engine

    def routes(self) -> list[web.RouteDef]:
        """One for each row and base path; a slash at the end makes no difference (docs/esc-callbacks.md#S)."""
        no_head = {"allow_head": False}
        return [
            web.RouteDef(method, f"{base}{row.path}{end}", self._answering(row), no_head if method == "GET" else {})
            for base in BASES
            for row in ROWS
            for end in ("", "/")
            for method in methods_of(row)
        ]

    def _answering(self, row: Row) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                call = await self._call(request, row)
                if row.method != "GET":
                    self._esc.reseed(f"{row.method} {request.path.rstrip('/')}")
                self._require_vim(row)
                reply: Reply = row.does(self._esc, call)
            except (RefusalError, BodyError) as error:
                self._esc.release_claim()
                return error_response(request, _status(error, row), str(error), row)
            if reply.work is not None:
                self._engine.start(reply.work)
            else:
                self._engine.save()
            if row.name in SPOILT:
                return await spoilt(self._esc.faults, request, lambda changed: _response(request, row, changed), reply)
            return _response(request, row, reply)

        return answer

    async def _call(self, request: web.Request, row: Row) -> Call:
        body = Body()
        if row.body:
            language = language_of(request.headers.get(hdrs.CONTENT_TYPE, ""))
            given = await request.read()
            body = read_text(given, language) if row.body == "text" else read_body(given, language, MODELS[row.body])
        urls = Urls(_url(request, CALLBACK, row.callback), _url(request, EVENTS, row.events))
        named = {name: request.query[name] for name in row.query if name in request.query}
        named |= {name: request.headers[name] for name in row.headers if name in request.headers}
        return Call(row, dict(request.match_info), named, urls, body)

    def _require_vim(self, row: Row) -> None:
        if row.needs_vim and self._esc.fault("vim-down"):
            raise RefusalError(Wrong.VIM, "the VIM cannot be reached")


def methods_of(row: Row) -> Sequence[str]:
    """HEAD too where GET only reads."""
    return (row.method, "HEAD") if row.method == "GET" and row.answer else (row.method,)


def _status(error: RefusalError | BodyError, row: Row) -> int:
    if isinstance(error, RefusalError):
        return error.status(row)
    return 415 if isinstance(error, LanguageError) else 400


def authorised(esc: Esc, request: web.Request) -> bool:
    """Whether the request has the right credentials, or none are needed."""
    if esc.password is None:
        return True
    scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    try:
        decoded = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(decoded, ":".join(esc.password).encode())


def error_response(
    request: web.BaseRequest,
    status: int,
    message: str,
    row: Row | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A body that names the error; the document prints none, so that its shape is ours."""
    reason = (row.statuses.get(status) if row else None) or HTTPStatus(status).phrase
    if _STANDS_FOR.search(reason):
        reason = message
    fields = {"status_code": status, "reason": reason, "message": message}
    body, media_type = write_body(wanted_language(request.headers.get(hdrs.ACCEPT, "")), MODELS["error"], fields)
    log.info("refused", path=request.path, status=status, message=message)
    return web.Response(body=body, status=status, headers={hdrs.CONTENT_TYPE: media_type, **(headers or {})})


def _url(request: web.Request, name: str, need: Need) -> str | None:
    """The callback URL in a header; refused when it is no URL, or missing where it is enforced."""
    given = request.headers.get(name)
    if need is Need.NONE:
        return None
    if given is None:
        if need is Need.ENFORCED:
            raise invalid(f"Missing callback: the header {name} should hold the URL to post to")
        return None
    try:
        url = URL(given)
        is_url = url.scheme in {"http", "https"} and bool(url.host) and len(given) <= URL_MAX
    except ValueError:
        is_url = False
    if not is_url:
        raise invalid(f"{name}: {given[:200]!r} is no http:// or https:// URL")
    return given


def _response(request: web.Request, row: Row, reply: Reply) -> web.Response:
    headers = {TRANSACTION: reply.work.operation.transaction} if reply.work else {}
    status = reply.status or row.ok
    accept = request.headers.get(hdrs.ACCEPT, "")
    if reply.model is not None:
        text, given = reply.model
        wanted = wanted_language(accept, given)
        body = text.encode() if wanted == given else in_other_language(text, given)
        return web.Response(body=body, content_type=f"application/{wanted}", charset="utf-8", status=status)
    language = wanted_language(accept)
    if reply.many is not None:
        body, media_type = write_list(language, MODELS[row.answer], reply.many)
    elif reply.one is not None:
        body, media_type = write_body(language, MODELS[row.answer], reply.one)
    else:
        return web.Response(status=status, headers=headers)
    return web.Response(body=body, status=status, headers={hdrs.CONTENT_TYPE: media_type, **headers})
