"""Jobs of a cluster, by a client that answers as Ray's does."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RuntimeEnvSetupError
from requests import ReadTimeout

from distributed_il.core.errors import UserError
from distributed_il.runtime.jobs import cluster
from distributed_il.runtime.jobs.cluster import JobCluster
from distributed_il.runtime.jobs.connection import Refused
from distributed_il.runtime.jobs.job import Job, SubmitConfig, make_job


class OneByOne:
    """Ray's client: jobs by name, and a log that comes in pieces over connections that break."""

    def __init__(self) -> None:
        self.sent: dict[str, SimpleNamespace] = {}
        self.submissions: list[dict[str, Any]] = []
        self.stopped: list[str] = []
        self.log = ""
        self.connections: list[list[str | Exception]] = []
        self.unanswered = 0
        self.refusal: Exception | None = None
        self.faster: Job | None = None

    def submit_job(self, **job: Any) -> str:
        if self.refusal:
            raise self.refusal
        if self.faster:
            self.add(self.faster)
            raise Refused(
                500, f"Traceback\nValueError: Job with submission_id {self.faster.submission_id} already exists"
            )
        self.submissions.append(job)
        self.add(job["submission_id"], job["entrypoint"])
        return job["submission_id"]

    def add(self, job: Job | str, entrypoint: str = "", **known: Any) -> None:
        if isinstance(job, Job):
            job, entrypoint = job.submission_id, job.entrypoint
        details = {"status": "RUNNING", "message": None, "driver_exit_code": None, "start_time": 1000, "end_time": None}
        self.sent[job] = SimpleNamespace(
            **details | {"submission_id": job, "entrypoint": entrypoint, "type": "SUBMISSION"} | known
        )

    def get_job_info(self, submission_id: str) -> SimpleNamespace:
        if self.unanswered:
            self.unanswered -= 1
            raise ConnectionError("unplugged")
        if submission_id not in self.sent:
            raise Refused(404, f"Job {submission_id} does not exist")
        return self.sent[submission_id]

    def list_jobs(self) -> list[SimpleNamespace]:
        return list(self.sent.values())

    def stop_job(self, submission_id: str) -> bool:
        self.stopped.append(submission_id)
        return True

    def get_job_logs(self, submission_id: str) -> str:
        return self.log

    async def tail_job_logs(self, submission_id: str) -> AsyncIterator[str]:
        for piece in self.connections.pop(0):
            if isinstance(piece, Exception):
                raise piece
            yield piece
        if not self.connections:
            self.sent[submission_id].status = "SUCCEEDED"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> OneByOne:
    monkeypatch.setattr(cluster, "RETRY_S", 0.0)
    return OneByOne()


@pytest.fixture
def jobs(client: OneByOne) -> JobCluster:
    return JobCluster(client, "http://head:8265")


@pytest.fixture
def job() -> Job:
    return make_job(SubmitConfig(submission_id="nightly", entrypoint_num_cpus=1), "train", ["--run.dir=/r"], {})


def test_a_job_is_sent_with_all_that_belongs_to_it(client: OneByOne, jobs: JobCluster, job: Job) -> None:
    assert jobs.send(job)
    assert client.submissions == [
        {
            "submission_id": "nightly",
            "entrypoint": "python -m distributed_il train --run.dir=/r",
            "runtime_env": job.runtime_env,
            "entrypoint_num_cpus": 1,
        }
    ]


def test_sent_again_a_job_does_not_run_again(client: OneByOne, jobs: JobCluster, job: Job) -> None:
    assert jobs.send(job)
    assert not jobs.send(job)
    assert len(client.submissions) == 1


def test_of_two_that_send_at_once_one_sends(client: OneByOne, jobs: JobCluster, job: Job) -> None:
    client.faster = job
    assert not jobs.send(job)
    assert client.submissions == []


def test_where_the_answer_is_lost_the_name_under_which_to_send_again_is_said(
    client: OneByOne, jobs: JobCluster, job: Job
) -> None:
    client.refusal = ReadTimeout("read timed out")
    with pytest.raises(UserError, match="send it again with --submission_id=nightly: it will run once"):
        jobs.send(job)


def test_a_name_stands_for_one_command(client: OneByOne, jobs: JobCluster, job: Job) -> None:
    jobs.send(job)
    with pytest.raises(UserError, match=r"sent before with another command .*--run.dir=/r.*another --submission_id"):
        jobs.send(dataclasses.replace(job, entrypoint="python -m distributed_il train --run.dir=/s"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            Refused(500, "Traceback\n  File\nValueError: no such resource\n"),
            "refuses the job: ValueError: no such resource",
        ),
        (ValueError("directory /nowhere must be an existing directory"), "refuses the job: directory /nowhere"),
        (FileNotFoundError(2, "No such file", "req.txt"), "refuses the job: .*req.txt"),
        (RuntimeEnvSetupError("no pip"), "no pip"),
        (Refused(413, "too large"), "working_dir . is larger than the cluster takes; .*gitignore"),
    ],
)
def test_what_ray_refuses_is_said_in_one_line(
    error: Exception, words: str, client: OneByOne, jobs: JobCluster, job: Job
) -> None:
    client.refusal = error
    with pytest.raises(UserError, match=words) as caught:
        jobs.send(job)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_job_that_is_not_there_is_told(jobs: JobCluster) -> None:
    for ask in (jobs.state, jobs.stop, jobs.end):
        with pytest.raises(UserError, match="there is no job nightly at http://head:8265"):
            ask("nightly")
    with pytest.raises(UserError, match="there is no job nightly"):
        jobs.follow("nightly", print, print)


def test_jobs_are_listed_in_order_and_drivers_left_out(client: OneByOne, jobs: JobCluster) -> None:
    client.add("late", start_time=9000, end_time=9500, status="FAILED", driver_exit_code=3)
    client.add("early", start_time=8000)
    client.add("somebody's notebook", type="DRIVER")
    early, late = jobs.jobs()
    assert (early.submission_id, early.started_s, early.ended_s, early.ended) == ("early", 8.0, None, False)
    assert (late.submission_id, late.ended_s, late.exit_code, late.ended) == ("late", 9.5, 3, True)


def test_only_what_runs_is_stopped(client: OneByOne, jobs: JobCluster) -> None:
    client.add("runs")
    client.add("done", status="SUCCEEDED")
    assert jobs.stop("runs")
    assert not jobs.stop("done")
    assert client.stopped == ["runs"]


def test_the_end_of_a_job_that_has_not_begun_is_not_waited_for(client: OneByOne, jobs: JobCluster) -> None:
    client.add("nightly", status="PENDING")
    assert jobs.end("nightly").status == "PENDING"


def test_a_log_is_written_as_it_stands(client: OneByOne, jobs: JobCluster) -> None:
    client.add("nightly")
    client.log = "Running entrypoint for job nightly: x\nround 1\nround 2"
    written: list[str] = []
    assert jobs.log("nightly", written.append).status == "RUNNING"
    assert "".join(written) == "round 1\nround 2\n"


def test_a_log_is_followed_over_lost_connections_without_gap_or_double_line(client: OneByOne, jobs: JobCluster) -> None:
    client.add("nightly")
    client.log = "1\n2\n3\n4\nno end"
    client.connections = [
        ["1\n2"],  # closed in the middle of a line
        ["1\n", RuntimeError("closed"), "never"],  # before it came to anything new
        ["1", "\n2\n3\n", OSError("unplugged")],
        ["1\n2\n3\n4\n"],
    ]
    written: list[str] = []
    assert jobs.follow("nightly", written.append, print).status == "SUCCEEDED"
    assert "".join(written) == "1\n2\n3\n4\nno end\n"
    assert client.connections == []


def test_a_cluster_that_is_away_for_a_while_is_asked_again(client: OneByOne, jobs: JobCluster) -> None:
    client.add("nightly", status="STOPPED")
    client.unanswered = 3
    assert jobs.end("nightly").status == "STOPPED"


def test_a_cluster_that_stays_away_is_given_up(
    client: OneByOne, jobs: JobCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "LOST_AFTER_S", 0.0)
    client.add("nightly")
    client.unanswered = 1000
    with pytest.raises(UserError, match="no Ray cluster answers at http://head:8265"):
        jobs.end("nightly")


def test_in_silence_the_job_is_asked_for_and_an_end_is_seen(
    client: OneByOne, jobs: JobCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "QUIET_S", 0.01)
    client.add("nightly")
    client.log = "1\n2\n"

    async def one_line_and_then_nothing(submission_id: str) -> AsyncIterator[str]:
        yield "1\n"
        client.sent[submission_id].status = "FAILED"
        await cluster.asyncio.Event().wait()
        yield "never"

    monkeypatch.setattr(client, "tail_job_logs", one_line_and_then_nothing)
    written: list[str] = []
    assert jobs.follow("nightly", written.append, print).status == "FAILED"
    assert "".join(written) == "1\n2\n"


def test_what_a_job_waits_for_that_does_not_begin_is_said_once(
    client: OneByOne, jobs: JobCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "QUIET_S", 0.01)
    client.add("nightly", status="PENDING", message="It may be waiting for resources.")
    looks: list[str] = []
    ask = client.get_job_info

    def stopped_at_the_fifth_look(submission_id: str) -> SimpleNamespace:
        looks.append(submission_id)
        if len(looks) == 5:
            client.sent[submission_id].status = "STOPPED"
        return ask(submission_id)

    async def nothing(submission_id: str) -> AsyncIterator[str]:
        await cluster.asyncio.Event().wait()
        yield "never"

    monkeypatch.setattr(client, "get_job_info", stopped_at_the_fifth_look)
    monkeypatch.setattr(client, "tail_job_logs", nothing)
    noted: list[str] = []
    assert jobs.follow("nightly", print, noted.append).status == "STOPPED"
    assert noted == ["nightly: PENDING: It may be waiting for resources."]
