"""A dashboard that is not there, is another, asks for a token, or is of other versions: said in seconds, in words."""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import ray
from ray._private.authentication_test_utils import reset_auth_token_state

from distributed_il.core.errors import UserError
from distributed_il.runtime.jobs import connection
from distributed_il.runtime.jobs.connection import check_versions, connect

OURS = platform.python_version()


@contextmanager
def dashboard(ray_version: str = ray.__version__, python_version: str = OURS, token: str = "") -> Iterator[str]:
    """What a head's dashboard answers, as far as a connection asks; its address without a scheme."""
    answers = {
        "/api/version": {"version": "4", "ray_version": ray_version},
        "/api/v0/cluster_metadata": {"data": {"rayVersion": ray_version, "pythonVersion": python_version}},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization")
            status = 200 if not token or given == f"Bearer {token}" else 403 if given else 401
            body = json.dumps(answers.get(self.path, {})).encode() if status == 200 else b"Unauthorized"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


@pytest.fixture(autouse=True)
def nothing_around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither variables nor a token; Ray, which another test may have started in this process, remembers its own."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            environment.delenv(name, raising=False)
        environment.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        reset_auth_token_state()
        yield
    reset_auth_token_state()


def refusal(address: str | None, **environ: str) -> str:
    with pytest.raises(UserError) as caught:
        connect(address, environ)
    return str(caught.value)


def test_a_dashboard_of_our_versions_is_connected_to_with_and_without_a_scheme() -> None:
    with dashboard() as address:
        assert connect(f"http://{address}/", {}).get_address() == f"http://{address}"
        assert connect(address, {}).get_address() == f"http://{address}"


def test_the_address_given_prevails_over_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    with dashboard() as address:
        environ = {"RAY_ADDRESS": "http://127.0.0.1:1"}
        assert connect(f"http://{address}", environ).get_address() == f"http://{address}"
        environ["RAY_API_SERVER_ADDRESS"] = f"http://{address}"
        assert connect(None, environ).get_address() == f"http://{address}"
    assert os.environ["RAY_API_SERVER_ADDRESS"] == "http://127.0.0.1:1"


def test_no_address_is_asked_for() -> None:
    assert "which cluster? give --address=http://HEAD:8265" in refusal(None)


@pytest.mark.parametrize("address", ["head", "ray://head:10001", "http://head:port", "http://:8265", "head:99999"])
def test_what_is_no_address_of_a_dashboard_is_refused(address: str) -> None:
    assert f"--address {address}" in refusal(address)


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("form", ["http://127.0.0.1:{}", "127.0.0.1:{}"])
def test_where_nothing_listens_the_address_and_the_cure_are_said(form: str, closed_port: int) -> None:
    address = form.format(closed_port)
    message = refusal(address)
    assert f"no Ray cluster answers at {address}" in message
    assert "start it" in message


def test_a_host_that_does_not_exist_is_told() -> None:
    assert "no Ray cluster answers at http://head.invalid:8265" in refusal("http://head.invalid:8265")


def test_one_that_takes_the_connection_and_is_silent_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_WITHIN_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "no Ray cluster answers" in refusal(f"http://127.0.0.1:{server.getsockname()[1]}")


def test_another_service_is_not_taken_for_a_dashboard() -> None:
    with dashboard(ray_version="") as address:
        assert "http://" + address in refusal(f"http://{address}")


def test_a_token_is_asked_for_refused_or_taken() -> None:
    with dashboard(token="right") as address:
        assert "asks for a token, and none was sent" in refusal(address)
        assert "asks for a token, and ours is not the right one" in refusal(address, RAY_AUTH_TOKEN="wrong")
        assert "there is no token here" in refusal(address, RAY_AUTH_MODE="token")
        assert connect(address, {"RAY_AUTH_TOKEN": "right"}).get_address() == f"http://{address}"


@pytest.mark.parametrize(
    ("versions", "theirs"),
    [({"ray_version": "2.61.3"}, f"Ray 2.61.3 and Python {OURS}"), ({"python_version": "3.9.1"}, "Python 3.9.1")],
)
def test_other_versions_are_said_with_ours_and_the_cure(versions: dict[str, str], theirs: str) -> None:
    with dashboard(**versions) as address:
        message = refusal(address)
    assert theirs in message
    assert f"this is Ray {ray.__version__} and Python {OURS}" in message
    assert "install the cluster's versions here" in message


def test_a_patch_level_of_python_and_an_unknown_python_are_free() -> None:
    check_versions(ray.__version__, f"{OURS.rpartition('.')[0]}.99")
    check_versions(ray.__version__, None)
    with pytest.raises(UserError):
        check_versions("2.59.0", None)


def test_environments_variables_and_logging_are_left_as_they_were(closed_port: int) -> None:
    before = logging.root.manager.disable, dict(os.environ)
    refusal(f"http://127.0.0.1:{closed_port}")
    assert (logging.root.manager.disable, dict(os.environ)) == before
