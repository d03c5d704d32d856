"""What of a job's log is shown, and how it is followed to the job's end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_details import job_details
from ray.job_submission import JobDetails, JobStatus

from distributed_il.core.errors import UserError
from distributed_il.runtime.jobs import follow as module
from distributed_il.runtime.jobs.client import JobClient
from distributed_il.runtime.jobs.follow import LogText, follow

LOG = (
    "2026-11-21 16:10:26,847\tINFO job_manager.py:581 -- Runtime env is setting up.\n"
    "Running entrypoint for job nightly-3: python -m distributed_il train\n"
    "round 1/2 train  50%\n"
    "2026-11-21 16:10:29,063\tINFO worker.py:1691 -- Using address 192.0.2.2:26379\n"
    "\n"
    "2026-11-21 16:10:30,063\tWARNING worker.py:17 -- a warning stays\n"
    "2026-11-21: INFO of the job's own -- stays\n"
    "no end"
)
SHOWN = (
    "round 1/2 train  50%\n"
    "\n"
    "2026-11-21 16:10:30,063\tWARNING worker.py:17 -- a warning stays\n"
    "2026-11-21: INFO of the job's own -- stays\n"
    "no end\n"
)


@given(st.lists(st.integers(0, len(LOG))))
def test_rays_own_lines_are_left_out_wherever_the_log_is_cut(cuts: list[int]) -> None:
    written: list[str] = []
    log = LogText(written.append)
    edges = [0, *sorted(cuts), len(LOG)]
    for start, stop in itertools.pairwise(edges):
        log.take(LOG[start:stop])
    assert log.taken == len(LOG)
    log.take_last(LOG)
    assert "".join(written) == SHOWN


def test_an_end_adds_nothing_to_a_whole_line() -> None:
    written: list[str] = []
    log = LogText(written.append)
    log.take("done\n")
    log.take_last("done\n")
    assert written == ["done\n"]


# Followed to the end


class OneJob(JobClient):
    """A cluster with one job, whose log comes in pieces over connections that break."""

    def __init__(self, status: str = "RUNNING", message: str = "") -> None:
        self.job = job_details("nightly", status, message=message)
        self.log = ""
        self.connections: list[list[str | Exception]] = []
        self.unanswered = 0
        self.questions = 0
        self.last_question = 0
        self.silent_after: Callable[[], object] | None = None

    def get_address(self) -> str:
        return "http://head:8265"

    def get_job_info(self, job_id: str) -> JobDetails:
        self.questions += 1
        if self.unanswered and self.questions > 1:
            self.unanswered -= 1
            raise ConnectionError("unplugged")
        if job_id != "nightly":
            raise RuntimeError("Request failed with status code 404: no such job.")
        if self.questions == self.last_question:
            self.end("STOPPED")
        return self.job

    def end(self, status: str) -> None:
        self.job = self.job.model_copy(update={"status": JobStatus(status)})

    def get_job_logs(self, job_id: str) -> str:
        return self.log

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        for piece in self.connections.pop(0) if self.connections else []:
            if isinstance(piece, Exception):
                raise piece
            yield piece
        if self.silent_after is not None:
            self.silent_after()
            await asyncio.Event().wait()
        elif not self.connections:
            self.end("SUCCEEDED")


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)


def test_a_job_that_is_not_there_is_not_followed() -> None:
    with pytest.raises(UserError, match="there is no job daily"):
        follow(OneJob(), "daily", print, print)


def test_a_log_is_followed_over_lost_connections_without_gap_or_double_line() -> None:
    client = OneJob()
    client.log = "1\n2\n3\n4\nno end"
    client.connections = [
        ["1\n2"],  # closed in the middle of a line
        ["1\n", RuntimeError("closed"), "never"],  # before it came to anything new
        ["1", "\n2\n3\n", OSError("unplugged")],
        ["1\n2\n3\n4\n"],
    ]
    written: list[str] = []
    assert follow(client, "nightly", written.append, print).status == "SUCCEEDED"
    assert "".join(written) == "1\n2\n3\n4\nno end\n"
    assert client.connections == []


def test_a_cluster_that_is_away_for_a_while_is_asked_again() -> None:
    client = OneJob()
    client.unanswered = 3
    assert follow(client, "nightly", print, print).status == "SUCCEEDED"


def test_a_cluster_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOST_AFTER_S", 0.0)
    client = OneJob()
    client.unanswered = 1000
    with pytest.raises(ConnectionError):
        follow(client, "nightly", print, print)


def test_in_silence_the_job_is_asked_for_and_an_end_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.01)
    client = OneJob()
    client.log = "1\n2\n"
    client.connections = [["1\n"]]
    client.silent_after = lambda: client.end("FAILED")
    written: list[str] = []
    assert follow(client, "nightly", written.append, print).status == "FAILED"
    assert "".join(written) == "1\n2\n"


def test_what_a_job_waits_for_that_does_not_begin_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.01)
    client = OneJob("PENDING", "It may be waiting for resources.")
    client.silent_after = lambda: None
    client.last_question = 5
    noted: list[str] = []
    assert follow(client, "nightly", print, noted.append).status == "STOPPED"
    assert noted == ["nightly: PENDING: It may be waiting for resources."]
