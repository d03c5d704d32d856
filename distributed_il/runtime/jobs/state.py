"""How the state of a job reads."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence

from ray.job_submission import JobDetails

_STOPPED = 128 + 15
"""Exit code of a process that SIGTERM ended."""


def exit_code(job: JobDetails) -> int:
    """Returns a job's exit code as a shell shows it; 143 if it was stopped, 1 if it failed before it began."""
    if job.status != "FAILED":
        return _STOPPED if job.status == "STOPPED" else 0
    code = job.driver_exit_code or 1
    return 128 - code if code < 0 else code


def describe(job: JobDetails) -> str:
    """Returns a job's status, and what is known of a failure or of a job that has not begun."""
    message = textwrap.shorten(job.message or "", 500)
    if job.status == "PENDING":
        return f"PENDING: {message}"
    if job.status != "FAILED":
        return str(job.status)
    if job.driver_exit_code is not None:
        return f"FAILED with exit code {exit_code(job)}"
    return f"FAILED before it began: {message}"


def job_table(jobs: Sequence[JobDetails], now_s: float) -> str:
    """Returns a row for each job, by start: id, status, start, duration (up to `now_s`, Unix time) and command."""
    rows = [("id", "status", "started", "took", "command")]
    for job in sorted(jobs, key=lambda job: job.start_time or 0):
        started, took = "–", "–"
        if job.start_time:
            seconds = int((job.end_time or 1000 * now_s) - job.start_time) // 1000
            started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.start_time / 1000))
            took = f"{seconds // 60}:{seconds % 60:02d}"
        command = job.entrypoint.removeprefix("python -m distributed_il ")
        rows.append((job.submission_id or "", str(job.status), started, took, command))
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{row[0]:<{width}}  {row[1]:<9}  {row[2]:<19}  {row[3]:>8}  {row[4]}" for row in rows)
