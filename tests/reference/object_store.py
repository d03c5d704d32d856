"""A server that speaks S3 over HTTP, in a thread of this process or in a process of its own; it may be in trouble."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
import urllib.request
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

BUCKET = "shop"
_ERRORS = {403: "AccessDenied", 500: "InternalError", 503: "SlowDown"}


@dataclass(slots=True)
class Trouble:
    """What goes wrong with some requests.

    Attributes:
        part: Of the paths that it befalls.
        methods: Of the requests that it befalls.
        times: How often; for good by default.
        status: What the server answers instead of an object: 403, 500 or 503.
        breaks_off: Whether the connection ends in the middle of the answer.
        delay_s: Seconds before the answer.
        met: How many requests it befell.
    """

    part: str
    methods: Sequence[str] = ("GET", "HEAD", "PUT", "POST", "DELETE")
    times: float = float("inf")
    status: int | None = None
    breaks_off: bool = False
    delay_s: float = 0.0
    met: int = field(default=0, init=False)

    def befalls(self, method: str, path: str) -> bool:
        """Returns whether a request meets it, and counts that."""
        befalls = self.met < self.times and method in self.methods and self.part in path
        self.met += befalls
        return befalls


class Troubled:
    """An S3 server's application, with the troubles of a test."""

    def __init__(self, troubles: list[Trouble]) -> None:
        self._app: Any = DomainDispatcherApplication(create_backend_app)
        self._troubles, self._lock = troubles, threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            trouble = next((trouble for trouble in self._troubles if trouble.befalls(method, path)), None)
        if trouble is None:
            return self._app(environ, start_response)
        time.sleep(trouble.delay_s)
        if trouble.status is not None:
            error = _ERRORS[trouble.status]
            start_response(f"{trouble.status} {error}", [("Content-Type", "application/xml")])
            return [] if method == "HEAD" else [f"<Error><Code>{error}</Code></Error>".encode()]
        answer = self._app(environ, start_response)
        return _first_half(answer) if trouble.breaks_off else answer


def _first_half(answer: Iterable[bytes]) -> Iterator[bytes]:
    content = b"".join(answer)
    yield content[: len(content) // 2]
    raise ConnectionResetError


@contextmanager
def object_store(troubles: list[Trouble] | None = None) -> Generator[dict[str, str]]:
    """Serves an empty bucket `shop`; yields the environment in which Arrow finds it.

    Args:
        troubles: What goes wrong with its requests; a test may add some while it runs.
    """
    app = Troubled([] if troubles is None else troubles)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        # What a server of this process held before, the next one holds too.
        for method, place in (("POST", "moto-api/reset"), ("PUT", BUCKET)):
            with urllib.request.urlopen(urllib.request.Request(f"{address}/{place}", method=method)):
                pass
        yield {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def object_store_apart() -> Generator[dict[str, str]]:
    """The same in a process of its own, which answers whatever the test's process does."""
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join()


def _serve(connection: Connection) -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would tell of every request
    with object_store() as environment:
        connection.send(environment)
        connection.poll(None)  # until the other end is closed
