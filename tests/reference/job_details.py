"""Jobs as Ray's client describes them."""

from __future__ import annotations

from typing import Any

from ray.job_submission import JobDetails


def job_details(name: str, status: str, **known: Any) -> JobDetails:
    """A job that was sent to a cluster."""
    fields = {"type": "SUBMISSION", "submission_id": name, "status": status, "entrypoint": "python x"}
    return JobDetails(**fields | known)
