"""A server that speaks S3 over HTTP, in a thread of this process."""

from __future__ import annotations

import urllib.request
from collections.abc import Generator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

BUCKET = "shop"


@contextmanager
def object_store() -> Generator[dict[str, str]]:
    """Serves an empty bucket `shop`; yields the environment in which Arrow finds it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        with urllib.request.urlopen(urllib.request.Request(f"{address}/{BUCKET}", method="PUT")):
            pass
        yield {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        server.stop()
