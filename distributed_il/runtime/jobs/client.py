"""Ray's client of a cluster's job API, made to answer or fail within seconds, and to fail in plain words."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import aiohttp
import requests
from ray.exceptions import AuthenticationError, RayError
from ray.job_submission import JobDetails, JobSubmissionClient

from distributed_il.core.errors import UserError
from distributed_il.runtime.address import CONNECT_WITHIN_S, check_address
from distributed_il.runtime.environment import environment

ANSWER_WITHIN_S = 60.0
_EXAMPLE = "--address=http://HEAD:8265"
_ADDRESS = "RAY_API_SERVER_ADDRESS"


class JobClient(JobSubmissionClient):
    """Ray's client, which waits for no answer without limit and sends a job once; `connect` makes one."""

    def _do_request(self, *arguments: Any, **named: Any) -> Any:
        return super()._do_request(*arguments, **named, timeout=(CONNECT_WITHIN_S, ANSWER_WITHIN_S))

    def find(self, submission_id: str) -> JobDetails:
        """Returns what has become of a job.

        Raises:
            UserError: There is no such job.
        """
        try:
            return self.get_job_info(submission_id)
        except RuntimeError as error:
            if "status code 404" not in str(error):
                raise
            raise UserError(
                f"there is no job {submission_id} at {self.get_address()}; `distributed-il submit list` shows what "
                "there is (a cluster that was started again has forgotten its jobs)"
            ) from error

    def send(self, job: dict[str, Any]) -> JobDetails | None:
        """Sends a job, as `make_job` makes it; returns None, or the job that was sent before under its name.

        Raises:
            UserError: A job of that name runs another command, or Ray refuses the job.
        """
        name = job["submission_id"]
        try:
            self.submit_job(**job)
            return None
        except requests.RequestException as error:
            raise UserError(
                f"{self.get_address()} did not answer while {name} was sent ({error}); send it again with "
                f"--submission_id={name}: it will run at most once"
            ) from error
        except (OSError, RayError, RuntimeError, TypeError, ValueError) as error:
            if "status code 413" in str(error):
                raise UserError(
                    f"working_dir {job['runtime_env']['working_dir']} is larger than the cluster takes; keep data out "
                    "of it, name what the job does not need in its .gitignore, or give a smaller --working_dir"
                ) from error
            if f"{name} already exists" not in str(error):
                raise UserError(f"Ray refuses the job: {_last_line(error)}") from error
        before = self.find(name)
        if before.entrypoint != job["entrypoint"]:
            raise UserError(
                f"job {name} was sent before with another command ({before.entrypoint}); choose another --submission_id"
            )
        return before


def _last_line(error: Exception) -> str:
    """Returns what an error has to say; Ray's refusals carry the traces of its servers, each with a dot behind it."""
    return ([type(error).__name__] + [line.strip() for line in str(error).splitlines() if line.strip(" .")])[-1]


@contextmanager
def connect(address: str | None) -> Generator[JobClient]:
    """Connects to a cluster's job API; what goes wrong inside the block is told in plain words.

    Ray's client finds the token, as RAY_AUTH_MODE, RAY_AUTH_TOKEN and RAY_AUTH_TOKEN_PATH say. Its log lines are kept
    away.

    Args:
        address: The head's `http://HEAD:8265`, or `HOST:PORT` of the cluster itself; None for that of the environment.

    Yields:
        The client.

    Raises:
        UserError: There is no address, nothing answers there, the token is refused, or the cluster's Ray is too old.
    """
    address = address or os.environ.get(_ADDRESS) or os.environ.get("RAY_ADDRESS")
    if not address:
        raise UserError(f"which cluster? give {_EXAMPLE}, or set {_ADDRESS} (8265 is where Ray's dashboard listens)")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield _client(_with_scheme(address.rstrip("/")))
    except AuthenticationError as error:
        raise UserError(
            f"the cluster at {address} takes its own token only: {error.message.splitlines()[0].split('. ')[0]}; put "
            "the token into ~/.ray/auth_token, or name it by RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH (`ray "
            "get-auth-token` on the head prints it), with RAY_AUTH_MODE=token"
        ) from error
    except (OSError, aiohttp.ClientError) as error:  # requests' errors of connection are OSErrors
        raise UserError(
            f"no Ray cluster answers at {address} ({error}); start it, or give the address of its dashboard as "
            f"{_EXAMPLE}"
        ) from error
    except RuntimeError as error:
        if not str(error).startswith("Request failed"):
            raise
        raise UserError(f"the cluster at {address}: {_last_line(error)}") from error
    finally:
        logging.disable(before)


def _client(address: str) -> JobClient:
    try:
        with environment({_ADDRESS: address}, override=True):  # Ray lets it prevail over the argument
            return JobClient(address)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"what answers at {address} is no dashboard of our Ray ({error}); give {_EXAMPLE}") from error


def _with_scheme(address: str) -> str:
    """Returns the address as Ray's client is to have it, once something listens there.

    Ray takes an address without a scheme for that of its own protocol, and waits long for an answer in it.
    """
    if address != "auto":
        check_address(address, "--address")
        if "://" not in address:
            with suppress(requests.RequestException):
                requests.get(f"http://{address}/api/version", timeout=CONNECT_WITHIN_S)
                return f"http://{address}"
    return address
