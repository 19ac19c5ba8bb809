"""A server of HTTP on this machine, for tests of what is fetched."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Served:
    """What a server of HTTP on this machine has, and what it was asked."""

    def __init__(self, data: bytes) -> None:
        self.data, self.etag, self.modified = data, '"one"', ""
        self.cut = 0  # bytes that it does not send of those that it promised
        self.codes: list[int] = []
        owner = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_port}/data/sst%20a.nc?version=1"

    def answer(self, asked: BaseHTTPRequestHandler) -> None:
        if "lost" in asked.path:
            self.codes.append(404)
            asked.send_error(404)
            return
        known = asked.headers["If-None-Match"], asked.headers["If-Modified-Since"]
        same = (self.etag, self.modified) in [(known[0], self.modified), (self.etag, known[1])] and any(known)
        self.codes.append(304 if same else 200)
        asked.send_response(self.codes[-1])
        for name, value in (("ETag", self.etag), ("Last-Modified", self.modified)):
            if value:
                asked.send_header(name, value)
        if not same:
            asked.send_header("Content-Length", str(len(self.data)))
        asked.end_headers()
        if not same:
            asked.wfile.write(self.data[: len(self.data) - self.cut])


@contextmanager
def serving(data: bytes) -> Iterator[Served]:
    """Serve a file meanwhile."""
    served = Served(data)
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        served.server.shutdown()
        thread.join()
        served.server.server_close()
