"""A web server that answers the same bytes to everybody: the least that aiohttp costs."""

import sys
from pathlib import Path

from aiohttp import web


def main() -> None:
    answer = Path(sys.argv[1]).read_bytes()

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=answer, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", show)
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(sys.argv[2]),
        access_log=None,
        print=lambda *_: sys.stdout.write("listens\n") and sys.stdout.flush(),
    )


if __name__ == "__main__":
    main()
