"""What the form's page costs, beside a bare aiohttp handler that answers the same bytes.

CPU of the server alone, over one connection that stays open, in turns.
"""

import argparse
import asyncio
import http.client
import sys
from contextlib import AsyncExitStack

from tests.bench import clock
from tests.bench.report import Report, Row, run

PATH = "/en/"


def cpu_ms(port: int, pid: int, path: str, count: int) -> float:
    """CPU milliseconds of process `pid` for each of `count` requests."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    before = clock.spent(pid)
    for _ in range(count):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == http.HTTPStatus.OK
        answer.read()
    connection.close()
    return (clock.spent(pid) - before) / count * 1000


async def measure(given: argparse.Namespace) -> Report:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(clock.scratch())
        service = stack.enter_context(clock.relay(folder))
        assert service.process is not None
        pid, page = service.process.pid, service.get(PATH).body
        port, bare_pid = stack.enter_context(clock.bare(folder, page))
        ways: dict[str, clock.Way] = {
            "bare": lambda: cpu_ms(port, bare_pid, "/", given.requests),
            "form": lambda: cpu_ms(service.port, pid, PATH, given.requests),
        }
        taken = clock.means(await clock.take_turns(ways, given.rounds))
    to = "a bare handler, same bytes"
    rows = [
        Row(name=name, cost=taken[way], unit="ms CPU", bound=taken["bare"], to=to)
        for name, way in ((to, "bare"), ("form page", "form"))
    ]
    notes = [f"{len(page):,} bytes; means of {given.rounds} rounds of {given.requests} requests."]
    return Report(name="form", title="The page with the form", rows=rows, notes=notes)


def main(arguments: list[str] | None = None) -> int:
    return run(
        lambda given: asyncio.run(measure(given)),
        "form",
        arguments,
        rounds=(10, 1),
        requests=(300, 50),
    )


if __name__ == "__main__":
    sys.exit(main())
