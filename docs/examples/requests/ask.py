"""Is a server asked for many pages quicker over one connection than over one connection for each page?

Run it from anywhere: ``python docs/examples/requests/ask.py``. It starts the server that it asks.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from crystallize import (
    AsyncExecution,
    Experiment,
    Hypothesis,
    Pipeline,
    Treatment,
    paired_t_test,
    pipeline_step,
)

PAGES = [f"/pages/{number}" for number in range(20)]


class Page(BaseHTTPRequestHandler):
    """Answers each path with a short text, after two milliseconds of work."""

    protocol_version = "HTTP/1.1"  # connections stay open
    wbufsize = -1  # head and body leave in one packet

    def do_GET(self):
        time.sleep(0.002)
        body = f"This is {self.path}.".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing of each request."""


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # connections that may wait to be accepted


@contextmanager
def serving() -> Iterator[int]:
    """Serve on a free port of this machine, and give its number."""
    with Server(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


async def get(reader, writer, path):
    """Ask for one page on an open connection."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split()[1])
    if status != 200:
        raise ValueError(f"{path} was answered with status {status}")
    return await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))


@pipeline_step()
async def fetch(paths, *, port, pages_per_connection=1):
    """Ask for the pages, one after the other."""
    pages, connections = [], 0
    began = time.perf_counter()
    for first in range(0, len(paths), pages_per_connection):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        connections += 1
        try:
            pages += [await get(reader, writer, path) for path in paths[first : first + pages_per_connection]]
        finally:
            writer.close()
            await writer.wait_closed()
    milliseconds = 1000 * (time.perf_counter() - began)
    return pages, {"milliseconds": milliseconds, "connections": connections}


@pipeline_step()
def check(pages):
    """Be sure that each page is the one that was asked for."""
    assert pages == [f"This is {path}.".encode() for path in PAGES]
    return pages, {"bytes": sum(map(len, pages))}


def main() -> None:
    with serving() as port:
        result = Experiment(
            name="requests",
            datasource=lambda: PAGES,
            pipeline=Pipeline([fetch(), check()]),
            initial_ctx={"port": port},
            treatments=[Treatment("one_connection", {"pages_per_connection": len(PAGES)})],
            hypotheses=[Hypothesis(paired_t_test(), metrics="milliseconds", direction="min")],
            plugins=[AsyncExecution(max_concurrency=4)],
            disable_plugins=["seed"],  # nothing here is random
        ).run(replicates=40)
    result.raise_for_errors()
    print(result.summary())


if __name__ == "__main__":
    main()
