"""The jobs of a cluster: sent once, followed, listed, stopped."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ray.exceptions import RayError
from requests import RequestException

from distributed_il.core.errors import UserError
from distributed_il.runtime.jobs.connection import Refused, connect, in_words
from distributed_il.runtime.jobs.job import Job, JobState

_OF_RAY = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\tINFO \w+\.py:\d+ -- |Running entrypoint for job [A-Za-z0-9._-]+: "
)


class LogText:
    """Takes the log in pieces, wherever they are cut, and writes whole lines."""

    def __init__(self, write: Callable[[str], object]) -> None:
        """Shows nothing yet.

        Args:
            write: Takes lines, each with its end.
        """
        self._write = write
        self._part = ""
        self.taken = 0
        """Characters taken so far, those of Ray's lines included: where to go on after a lost connection."""

    def take(self, piece: str) -> None:
        """Writes the lines that a piece completes."""
        self.taken += len(piece)
        *lines, self._part = (self._part + piece).split("\n")
        for line in lines:
            self._show(f"{line}\n")

    def end(self) -> None:
        """Writes what no end of line came after."""
        if self._part:
            self._show(f"{self._part}\n")
        self._part = ""

    def _show(self, line: str) -> None:
        if not _OF_RAY.match(line):
            self._write(line)


QUIET_S = 10.0
"""After so long without a line of the log the cluster is asked whether the job lives."""
LOST_AFTER_S = 300.0
"""How long a cluster that has stopped answering is asked again before its job is left alone."""
RETRY_S = 2.0


class JobCluster:
    """A cluster's jobs."""

    def __init__(self, client: Any, address: str) -> None:
        """Takes a connection.

        Args:
            client: A `distributed_il.runtime.jobs.connection.Client`.
            address: Of the cluster, for messages.
        """
        self._client = client
        self.address = address

    @classmethod
    def at(cls, address: str | None) -> JobCluster:
        """The cluster at an address.

        Args:
            address: See `connect`.

        Raises:
            UserError: See `connect`.
        """
        client = connect(address)
        return cls(client, client.get_address())

    def send(self, job: Job) -> bool:
        """Sends a job, unless one of its name has been sent before.

        Args:
            job: The job.

        Returns:
            Whether it was sent now.

        Raises:
            UserError: A job of that name does something else, or Ray refuses the job.
        """
        with in_words(self.address):
            if self._known(job):
                return False
            try:
                self._client.submit_job(
                    entrypoint=job.entrypoint,
                    submission_id=job.submission_id,
                    runtime_env=job.runtime_env,
                    **job.resources,
                )
            except RequestException as error:
                raise UserError(
                    f"{self.address} did not answer while {job.submission_id} was sent ({error}); send it again with "
                    f"--submission_id={job.submission_id}: it will run once at the most"
                ) from error
            except (OSError, Refused, RayError, RuntimeError, TypeError, ValueError) as error:
                if isinstance(error, Refused) and "already exists" in error.text and self._known(job):
                    return False  # somebody else was faster
                raise UserError(_why_not_sent(job, error)) from error
        return True

    def state(self, submission_id: str) -> JobState:
        """What has become of a job.

        Args:
            submission_id: Its name.

        Raises:
            UserError: There is no such job, or the cluster does not answer.
        """
        with in_words(self.address):
            return self._state(submission_id)

    def jobs(self) -> list[JobState]:
        """All that were sent to this cluster since it started, in order.

        Raises:
            UserError: The cluster does not answer.
        """
        with in_words(self.address):
            sent = [_state(details) for details in self._client.list_jobs() if details.type == "SUBMISSION"]
        return sorted(sent, key=lambda job: job.started_s or 0.0)

    def stop(self, submission_id: str) -> bool:
        """Asks a job to stop: it gets SIGTERM, and some time for a checkpoint.

        Args:
            submission_id: Its name.

        Returns:
            Whether it was still there to be stopped.

        Raises:
            UserError: There is no such job, or the cluster does not answer.
        """
        with in_words(self.address):
            return not self._state(submission_id).ended and self._client.stop_job(submission_id)

    def log(self, submission_id: str, write: Callable[[str], object]) -> JobState:
        """Writes a job's log as it stands.

        Args:
            submission_id: Its name.
            write: Takes lines.

        Raises:
            UserError: There is no such job, or the cluster does not answer.
        """
        with in_words(self.address):
            state = self._state(submission_id)
            self._write_rest(submission_id, LogText(write))
        return state

    def follow(self, submission_id: str, write: Callable[[str], object], note: Callable[[str], object]) -> JobState:
        """Writes a job's log until the job ends, over lost connections too.

        Args:
            submission_id: Its name.
            write: Takes lines.
            note: Told, once, what a job waits for that does not begin.

        Returns:
            How it ended.

        Raises:
            UserError: There is no such job, or the cluster does not answer any more.
        """
        log = LogText(write)
        self.state(submission_id)
        while True:
            # What is the matter with a lost connection shows itself when the state is asked for.
            with suppress(UserError, RuntimeError), in_words(self.address):
                asyncio.run(self._tail(submission_id, log, note))
            state = self._state_at_last(submission_id)
            if state.ended:
                with in_words(self.address):
                    self._write_rest(submission_id, log)
                return state
            time.sleep(RETRY_S)

    def end(self, submission_id: str) -> JobState:
        """Waits for the end of a job that has begun.

        Args:
            submission_id: Its name.

        Returns:
            How it ended, or that it has not begun: Ray stops such a job only when its turn comes.

        Raises:
            UserError: There is no such job, or the cluster does not answer any more.
        """
        while (state := self._state_at_last(submission_id)).status == "RUNNING":
            time.sleep(RETRY_S)
        return state

    async def _tail(self, submission_id: str, log: LogText, note: Callable[[str], object]) -> None:
        """Shows what is new until the connection closes, or until a silence in which the job has ended."""
        pieces = self._client.tail_job_logs(submission_id)
        seen = log.taken  # a new connection begins with the log's first line
        coming = asyncio.ensure_future(anext(pieces, None))
        noted = False
        try:
            while True:
                await asyncio.wait([coming], timeout=QUIET_S)
                if not coming.done():
                    state = await asyncio.to_thread(self._state, submission_id)
                    if state.ended:
                        return
                    if state.status == "PENDING" and not noted:
                        note(f"{submission_id}: {state.said()}")
                    noted = True
                    continue
                piece = coming.result()
                if piece is None:
                    return
                log.take(piece[seen:])
                seen = max(seen - len(piece), 0)
                coming = asyncio.ensure_future(anext(pieces, None))
        finally:
            coming.cancel()
            await asyncio.wait([coming])

    def _state_at_last(self, submission_id: str) -> JobState:
        """The state of a job, asked for again while there is no answer."""
        until = time.monotonic() + LOST_AFTER_S
        while True:
            try:
                return self.state(submission_id)
            except UserError as error:
                if not isinstance(error.__cause__, OSError) or time.monotonic() > until:
                    raise
            time.sleep(RETRY_S)

    def _write_rest(self, submission_id: str, log: LogText) -> None:
        log.take(self._client.get_job_logs(submission_id)[log.taken :])
        log.end()

    def _state(self, submission_id: str) -> JobState:
        try:
            return _state(self._client.get_job_info(submission_id))
        except Refused as error:
            if error.status != 404:
                raise
            raise UserError(
                f"there is no job {submission_id} at {self.address}; `distributed-il submit list` shows what there is "
                "(a cluster that was started again has forgotten its jobs)"
            ) from error

    def _known(self, job: Job) -> bool:
        try:
            before = _state(self._client.get_job_info(job.submission_id))
        except Refused as error:
            if error.status != 404:
                raise
            return False
        if before.entrypoint != job.entrypoint:
            raise UserError(
                f"job {job.submission_id} was sent before with another command ({before.entrypoint}); choose another "
                "--submission_id"
            )
        return True


def _state(details: Any) -> JobState:
    """What Ray says of a job."""
    return JobState(
        submission_id=details.submission_id or "",
        status=str(details.status),
        entrypoint=details.entrypoint,
        message=details.message or "",
        driver_exit_code=details.driver_exit_code,
        started_s=details.start_time and details.start_time / 1000,
        ended_s=details.end_time and details.end_time / 1000,
    )


def _why_not_sent(job: Job, error: Exception) -> str:
    """The last line that Ray has to say, with the cure where it is known."""
    if isinstance(error, Refused) and error.status == 413:
        return (
            f"working_dir {job.runtime_env['working_dir']} is larger than the cluster takes; keep data out of it, name "
            "what the job does not need in its .gitignore, or give a smaller --working_dir"
        )
    said = error.text if isinstance(error, Refused) else str(error)
    return f"Ray refuses the job: {(said.strip().splitlines() or [type(error).__name__])[-1].strip()}"
