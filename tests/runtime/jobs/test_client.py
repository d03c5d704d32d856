"""Connecting to a job API, and sending a job once; what goes wrong is told in seconds, in plain words."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import ray
from job_details import job_details
from ray._private.authentication_test_utils import reset_auth_token_state
from ray.exceptions import RuntimeEnvSetupError
from ray.job_submission import JobDetails
from requests import ReadTimeout

from distributed_il.core.errors import UserError
from distributed_il.runtime.jobs import client
from distributed_il.runtime.jobs.client import JobClient, connect
from distributed_il.runtime.jobs.job import SubmitConfig, make_job


@contextmanager
def dashboard(ray_version: str = ray.__version__, token: str = "") -> Iterator[str]:
    """What a head's dashboard answers, as far as a connection asks; its address without a scheme."""
    answers = {"/api/version": {"version": "4", "ray_version": ray_version}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization")
            status = 200 if not token or given == f"Bearer {token}" else 403 if given else 401
            refusals = {
                401: "Unauthorized: Missing authentication token",
                403: "Forbidden: Invalid authentication token",
            }
            body = (refusals.get(status) or json.dumps(answers.get(self.path, {}))).encode()
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


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets variables of authentication, which Ray reads once."""

    def set_variables(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        reset_auth_token_state()

    return set_variables


def address_of(address: str | None) -> str:
    with connect(address) as client:
        return client.get_address()


def refusal(address: str | None) -> str:
    with pytest.raises(UserError) as caught, connect(address):
        pass
    return str(caught.value)


def test_a_dashboard_is_connected_to_with_and_without_a_scheme() -> None:
    with dashboard() as address:
        assert address_of(f"http://{address}/") == f"http://{address}"
        assert address_of(address) == f"http://{address}"


def test_the_address_given_prevails_over_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    with dashboard() as address:
        assert address_of(f"http://{address}") == f"http://{address}"
        assert os.environ["RAY_API_SERVER_ADDRESS"] == "http://127.0.0.1:1"
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", f"http://{address}")
        assert address_of(None) == f"http://{address}"


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
    monkeypatch.setattr(client, "ANSWER_WITHIN_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "no Ray cluster answers" in refusal(f"http://127.0.0.1:{server.getsockname()[1]}")


def test_another_service_is_not_taken_for_a_dashboard() -> None:
    with dashboard(ray_version="") as address:
        assert "http://" + address in refusal(f"http://{address}")


def test_a_cluster_whose_ray_is_too_old_is_told() -> None:
    with dashboard(ray_version="1.8.0") as address:
        assert "Ray version 1.8.0 is running on the cluster" in refusal(f"http://{address}")


def test_a_token_is_asked_for_refused_or_taken(token: Callable[..., None]) -> None:
    with dashboard(token="right") as address:
        assert "Missing authentication token; put the token into ~/.ray/auth_token" in refusal(address)
        token(RAY_AUTH_MODE="token")
        assert "couldn't find an authentication token; put" in refusal(address)
        token(RAY_AUTH_TOKEN_PATH="/nowhere")
        assert "RAY_AUTH_TOKEN_PATH is set but file cannot be opened or is empty: /nowhere; put" in refusal(address)
        token(RAY_AUTH_TOKEN="wrong")
        assert "Invalid authentication token; put" in refusal(address)
        token(RAY_AUTH_TOKEN="right")
        assert address_of(address) == f"http://{address}"


def test_environments_variables_and_logging_are_left_as_they_were(closed_port: int) -> None:
    before = logging.root.manager.disable, dict(os.environ)
    refusal(f"http://127.0.0.1:{closed_port}")
    assert (logging.root.manager.disable, dict(os.environ)) == before


# Sending


class Jobs(JobClient):
    """Jobs by name, without a cluster."""

    def __init__(self) -> None:
        self.sent: dict[str, JobDetails] = {}
        self.submissions: list[dict[str, Any]] = []
        self.refusal: Exception | None = None

    def get_address(self) -> str:
        return "http://head:8265"

    def submit_job(self, **job: Any) -> str:
        name = job["submission_id"]
        if self.refusal:
            raise self.refusal
        if name in self.sent:  # in the words of Ray 2.60
            trace = f"Traceback\nValueError: Job with submission_id {name} already exists. Please use another.\n"
            raise RuntimeError(f"Request failed with status code 500: Traceback\nRuntimeError: {trace}.\n.")
        self.submissions.append(job)
        self.sent[name] = job_details(name, "RUNNING", entrypoint=job["entrypoint"])
        return name

    def get_job_info(self, job_id: str) -> JobDetails:
        if job_id not in self.sent:
            raise RuntimeError(f"Request failed with status code 404: Job {job_id} does not exist.")
        return self.sent[job_id]


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def job() -> dict[str, Any]:
    return make_job(SubmitConfig(submission_id="nightly", entrypoint_num_cpus=1), "train", ["--run.dir=/r"])


def test_a_job_is_sent_with_all_that_belongs_to_it(jobs: Jobs, job: dict[str, Any]) -> None:
    assert jobs.send(job) is None
    assert jobs.submissions == [
        {
            "submission_id": "nightly",
            "entrypoint": "python -m distributed_il train --run.dir=/r",
            "runtime_env": job["runtime_env"],
            "entrypoint_num_cpus": 1,
        }
    ]


def test_sent_again_a_job_does_not_run_again(jobs: Jobs, job: dict[str, Any]) -> None:
    jobs.send(job)
    assert jobs.send(job) is jobs.sent["nightly"]
    assert len(jobs.submissions) == 1


def test_where_the_answer_is_lost_the_name_under_which_to_send_again_is_said(jobs: Jobs, job: dict[str, Any]) -> None:
    jobs.refusal = ReadTimeout("read timed out")
    with pytest.raises(UserError, match="send it again with --submission_id=nightly: it will run at most once"):
        jobs.send(job)


def test_a_name_stands_for_one_command(jobs: Jobs, job: dict[str, Any]) -> None:
    jobs.send(job)
    with pytest.raises(UserError, match=r"sent before with another command .*--run.dir=/r.*another --submission_id"):
        jobs.send({**job, "entrypoint": "python -m distributed_il train --run.dir=/s"})


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            RuntimeError("Request failed with status code 500: Traceback\n  File\nValueError: no such resource\n."),
            "refuses the job: ValueError: no such resource",
        ),
        (ValueError("directory /nowhere must be an existing directory"), "refuses the job: directory /nowhere"),
        (FileNotFoundError(2, "No such file", "req.txt"), "refuses the job: .*req.txt"),
        (RuntimeEnvSetupError("no pip"), "no pip"),
        (
            RuntimeError("Request failed with status code 413: too large."),
            "working_dir . is larger than the cluster takes; .*gitignore",
        ),
    ],
)
def test_what_ray_refuses_is_said_in_one_line(error: Exception, words: str, jobs: Jobs, job: dict[str, Any]) -> None:
    jobs.refusal = error
    with pytest.raises(UserError, match=words) as caught:
        jobs.send(job)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_job_that_is_not_there_is_told(jobs: Jobs) -> None:
    with pytest.raises(UserError, match="there is no job nightly at http://head:8265"):
        jobs.find("nightly")
