"""The log of a job, as it stands or to the job's end."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress

import aiohttp
from ray.exceptions import RayError
from ray.job_submission import JobDetails

from distributed_il.runtime.jobs.client import JobClient
from distributed_il.runtime.jobs.state import describe

_OF_RAY = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\tINFO \w+\.py:\d+ -- |Running entrypoint for job [A-Za-z0-9._-]+: "
)
QUIET_S = 20.0
"""After so long without a line of the log the cluster is asked whether the job lives."""
LOST_AFTER_S = 300.0
"""How long a cluster that has stopped answering is asked again before its job is left alone."""
RETRY_S = 2.0


class LogText:
    """Takes a log in pieces, wherever they are cut, and writes whole lines, Ray's own left out."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._part = ""
        self.taken = 0
        """Characters taken so far, those of Ray's lines included: where to go on after a lost connection."""

    def take(self, piece: str) -> None:
        """Writes the lines that a piece completes."""
        self.taken += len(piece)
        *lines, self._part = (self._part + piece).split("\n")
        for line in lines:
            if not _OF_RAY.match(line):
                self._write(f"{line}\n")

    def take_last(self, log: str) -> None:
        """Writes what is left of the whole log, its last line too if it has no end."""
        self.take(log[self.taken :])
        if self._part:
            self.take("\n")


def follow(
    client: JobClient, submission_id: str, write: Callable[[str], object], note: Callable[[str], object]
) -> JobDetails:
    """Writes a job's log until the job ends, over lost connections too, and returns how it ended.

    `note` is told, once, what a job waits for that does not begin.

    Raises:
        UserError: There is no such job.
        OSError: The cluster does not answer any more.
    """
    log, noted = LogText(write), False
    client.find(submission_id)
    while True:
        # What is the matter with a lost connection shows when the job is asked for.
        with suppress(OSError, RuntimeError, RayError, aiohttp.ClientError):
            asyncio.run(_tail(client, submission_id, log))
        job = _find_patiently(client, submission_id)
        if job.status.is_terminal():
            log.take_last(client.get_job_logs(submission_id))
            return job
        if job.status == "PENDING" and not noted:
            note(f"{submission_id}: {describe(job)}")
            noted = True
        time.sleep(RETRY_S)


async def _tail(client: JobClient, submission_id: str, log: LogText) -> None:
    """Shows what is new until the connection closes, or nothing has come for a while."""
    seen = log.taken  # a new connection begins with the log's first line
    pieces = aiter(client.tail_job_logs(submission_id))
    with suppress(StopAsyncIteration, TimeoutError):
        while True:
            piece = await asyncio.wait_for(anext(pieces), QUIET_S)
            log.take(piece[seen:])
            seen = max(seen - len(piece), 0)


def _find_patiently(client: JobClient, submission_id: str) -> JobDetails:
    """Asks for a job again while there is no answer."""
    until = time.monotonic() + LOST_AFTER_S
    while True:
        try:
            return client.find(submission_id)
        except OSError:
            if time.monotonic() > until:
                raise
        time.sleep(RETRY_S)
