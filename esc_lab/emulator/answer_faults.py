"""Answers about deployments that go wrong on purpose (`injected_faults.ANSWERS`).

This file must not know what a deployment is, beyond the names of its states.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from aiohttp import web

from esc_lab.emulator.injected_faults import ANSWERS, Faults
from esc_lab.emulator.work_items import Reply

ELSEWHERE = "http://192.0.2.1/ESCManager"
"""A host that nobody has (RFC 5737)."""
HUGE_BYTES = 64 * 1024 * 1024
_PAGE = "<!DOCTYPE html><html><body>It works!</body></html>"
_PIECE = b"<!-- " + b"." * 65_526 + b" -->\n"


async def spoilt(
    faults: Faults, request: web.Request, written: Callable[[Reply], web.Response], reply: Reply
) -> web.StreamResponse:
    """The answer, or what is made of it; those of other requests are drawn as ever."""
    rng = Random(request.path)  # noqa: S311 -- chances are for long runs; armed faults do not draw
    found = next((name for name in ANSWERS if faults.happens(name, rng)), "")
    if found == "answer-late":
        await asyncio.sleep(faults.delay_s)
    if found == "answer-cut":
        return await _cut(request, written(reply))
    if found == "answer-huge":
        return await _huge(request)
    return _instead(found, reply) or written(_changed(found, reply))


def _instead(fault: str, reply: Reply) -> web.Response | None:
    """What has nothing to do with the deployments."""
    match fault:
        case "answer-empty" if reply.many is None:
            return web.Response()
        case "answer-garbled":
            return web.Response(text=_PAGE, content_type="text/html")
        case "answer-elsewhere":
            return web.Response(status=302, headers={"Location": ELSEWHERE})
        case "answer-401" | "answer-503":
            return web.Response(status=int(fault.removeprefix("answer-")))
    return None


def _changed(fault: str, reply: Reply) -> Reply:
    """What it says of the deployments."""
    match fault:
        case "answer-empty":
            return replace(reply, many=[])
        case "answer-wrong":
            return _in_error(reply)
    return reply


def _in_error(reply: Reply) -> Reply:
    if reply.many is not None:
        return replace(reply, many=[_ill(one) for one in reply.many])
    return replace(reply, one=_ill(reply.one or {}))


def _ill(deployment: Mapping[str, Any]) -> dict[str, Any]:
    vms = [{**vm, "vm_state_machine_state": "VM_ERROR_STATE"} for vm in deployment.get("deployment_details", ())]
    return {**deployment, "deployment_details": vms, "service_state_machine_state": "SERVICE_ERROR_STATE"}


async def _cut(request: web.Request, whole: web.Response) -> web.StreamResponse:
    body = whole.body if isinstance(whole.body, bytes) else b""
    response = web.StreamResponse(headers={"Content-Type": "application/xml", "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport:
        request.transport.close()
    return response


async def _huge(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/xml"})
    await response.prepare(request)
    try:
        await response.write(b"<deployments>")
        for _ in range(HUGE_BYTES // len(_PIECE)):
            await response.write(_PIECE)
        await response.write(b"</deployments>")
    except ConnectionError:  # nobody listens so long
        pass
    return response
