"""The board's page and files, as they are served."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files

from receiver.board.page import POLICY, Board
from receiver.lifecycle.operation_tables import KINDS
from tests.support.ingress import serving

STATIC = files("receiver.board").joinpath("static")


async def test_the_page_and_the_callback_path_share_their_address() -> None:
    """`GET /` is the board, `POST /` still takes callbacks."""
    async with serving([Board()]) as server:
        page = await server.request("GET", "/")
        kept = await server.request("POST", "/", b"<deployment/>")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b'id="board"' in page.body
    assert kept.status == 200
    assert "receipt" in kept.json


async def test_the_policy_lets_nothing_in_from_outside() -> None:
    """No inline script or style, no other host, no text that becomes markup; and the page keeps to it."""
    async with serving([Board()]) as server:
        page = await server.request("GET", "/")
    policy = page.headers["content-security-policy"]
    assert policy == POLICY
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy
    assert not re.search(rb"<script>|<style|style=|\son\w+=|https?:", page.body)


async def test_addresses_in_the_page_are_relative() -> None:
    """So that it works behind a proxy that serves it below a path."""
    page = STATIC.joinpath("index.html").read_text("utf-8")
    assert not re.findall(r'(?:src|href)="(?:/|\w+:)', page)
    for script in (entry for entry in STATIC.iterdir() if entry.name.endswith(".js")):
        assert not re.findall(r"""(?:from|fetch\(|href=|src=)\s*["'`]/""", script.read_text("utf-8")), script.name


async def test_files_are_asked_for_again_and_not_sent_again() -> None:
    """A browser that has the file is told so; one that takes gzip gets it."""
    async with serving([Board()]) as server:
        first = await server.request("GET", "/board/board.js")
        again = await server.request("GET", "/board/board.js", headers=[("If-None-Match", first.headers["etag"])])
        packed = await server.request("GET", "/board/board.js", headers=[("Accept-Encoding", "gzip")])
    assert (first.status, first.headers["cache-control"]) == (200, "no-cache")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    assert (again.status, again.body) == (304, b"")
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < len(first.body)


async def test_nothing_else_is_served() -> None:
    """Neither what lies beside the files, nor what is no part of a page."""
    async with serving([Board()]) as server:
        for path in ("page.py", "../page.py", "%2e%2e/page.py", "static/board.js", "nothing.js", "vendor"):
            answer = await server.request("GET", f"/board/{path}")
            assert answer.status == 404, path
            assert answer.headers["content-type"] == "application/problem+json"


async def test_libraries_are_those_that_were_checked() -> None:
    """Each file is the one whose checksum was written down when it was fetched, and its licence lies beside it."""
    vendor = STATIC.joinpath("vendor")
    for line in vendor.joinpath("checksums.txt").read_text("utf-8").splitlines():
        checksum, name = line.split("  ")
        assert hashlib.sha256(vendor.joinpath(name).read_bytes()).hexdigest() == checksum, name
    for line in vendor.joinpath("versions.txt").read_text("utf-8").splitlines():
        assert vendor.joinpath(line.split()[0], "LICENSE").is_file()


def test_the_board_knows_every_kind_of_operation() -> None:
    """So that each can be chosen."""
    text = (STATIC / "states.js").read_text("utf-8")
    known = text.partition("OPERATION_KINDS = [")[2].partition("]")[0]
    assert set(re.findall(r'"(\w+)"', known)) == {kind for _, kind in KINDS.values()}
