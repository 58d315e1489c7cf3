"""The measure of all: an aiohttp server that reads the request, answers 204 and does nothing else."""

from __future__ import annotations

import sys

from aiohttp import web


async def post(request: web.Request) -> web.Response:
    """Reads the body, as everybody must."""
    await request.read()
    return web.Response(status=204)


def main() -> None:
    """Serves on the port that is the first argument."""
    app = web.Application()
    app.add_routes([web.post("/esc/{source}/callback", post)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
