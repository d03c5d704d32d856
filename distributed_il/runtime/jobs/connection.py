"""A connection to a cluster's job API that answers or fails within seconds, and whose errors are for people."""

from __future__ import annotations

import http.client
import logging
import os
import platform
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
import ray
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from distributed_il.core.errors import UserError
from distributed_il.runtime.address import CONNECT_WITHIN_S, reach


def authorization(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The header that carries the token; none where there is no token, or RAY_AUTH_MODE is `disabled`.

    The token is looked for where Ray looks for it: RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names,
    `~/.ray/auth_token`. Where RAY_AUTH_MODE is not set, a token that is there is used.

    Args:
        environ: Environment variables.

    Raises:
        UserError: RAY_AUTH_MODE is `token` and there is none, or its file can't be read.
    """
    mode = environ.get("RAY_AUTH_MODE", "").lower()
    if mode == "disabled":
        return {}
    token = environ.get("RAY_AUTH_TOKEN", "").strip() or _from_file(environ)
    if token:
        return {"Authorization": f"Bearer {token}"}
    if mode == "token":
        raise UserError(
            "RAY_AUTH_MODE is token and there is no token here; put the cluster's into ~/.ray/auth_token, or name it "
            "by RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH (`ray get-auth-token` on the head prints it)"
        )
    return {}


def _from_file(environ: Mapping[str, str]) -> str:
    named = environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        if named:
            raise UserError(f"RAY_AUTH_TOKEN_PATH names {named}, which does not exist") from error
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the token in {path} can't be read: {error}") from error


ANSWER_WITHIN_S = 60.0
_EXAMPLE = "--address=http://HEAD:8265"
_ADDRESS = "RAY_API_SERVER_ADDRESS"


class Refused(Exception):
    """The job API answered, and not with what was asked for.

    Attributes:
        status: HTTP status.
        text: Its body.
    """

    def __init__(self, status: int, text: str) -> None:
        """Keeps the answer."""
        super().__init__(status, text)
        self.status = status
        self.text = text


class Client(JobSubmissionClient):
    """Ray's client with a limit on every wait, and with answers that can be told apart."""

    def versions(self) -> tuple[str, str | None]:
        """Versions of Ray and of Python on the cluster; the latter is None where the cluster does not say."""
        version = self._do_request("GET", "/api/version").json()["ray_version"]
        answer = self._do_request("GET", "/api/v0/cluster_metadata")
        python = answer.json().get("data", {}).get("pythonVersion") if answer.status_code == 200 else None
        return version, python

    def _do_request(self, *arguments: Any, **named: Any) -> Any:
        return super()._do_request(*arguments, **named, timeout=(CONNECT_WITHIN_S, ANSWER_WITHIN_S))

    def _raise_error(self, r: Any) -> NoReturn:
        raise Refused(r.status_code, r.text)


def connect(address: str | None, environ: Mapping[str, str] = os.environ) -> Client:
    """Connects to a cluster's job API.

    Args:
        address: The head's `http://HEAD:8265`, or `HOST:PORT` of the cluster itself; None for that of the environment.
        environ: Environment variables.

    Raises:
        UserError: There is no address, nothing answers there, the token is refused, or the versions differ.
    """
    address = address or environ.get(_ADDRESS) or environ.get("RAY_ADDRESS")
    if not address:
        raise UserError(f"which cluster? give {_EXAMPLE}, or set {_ADDRESS} (8265 is where Ray's dashboard listens)")
    address = _with_scheme(address.rstrip("/"))
    headers = authorization(environ)
    with in_words(address), _prevailing(_ADDRESS, address):
        try:
            client = Client(address, headers=headers)
            versions = client.versions()
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"what answers at {address} is no dashboard of Ray ({error}); give {_EXAMPLE}") from error
    check_versions(*versions)
    return client


def check_versions(ray_version: str, python_version: str | None) -> None:
    """Refuses a cluster of another Ray or another Python than ours; Python's patch level is free.

    Args:
        ray_version: Of the cluster.
        python_version: Of the cluster; None where it is not known.

    Raises:
        UserError: One of them differs.
    """
    ours = platform.python_version()
    same_python = python_version is None or python_version.split(".")[:2] == ours.split(".")[:2]
    if ray_version == ray.__version__ and same_python:
        return
    python = f" and Python {python_version}" if python_version else ""
    raise UserError(
        f"the cluster runs Ray {ray_version}{python}, and this is Ray {ray.__version__} and Python {ours}; install the "
        "cluster's versions here, or start the cluster with an image that has these"
    )


@contextmanager
def in_words(address: str) -> Generator[None]:
    """Turns what Ray and its HTTP client raise inside into messages; keeps their log lines away.

    Args:
        address: Of the cluster, for the messages.

    Raises:
        UserError: In place of errors of connection and authentication.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    except AuthenticationError as error:
        wrong = "none was sent" if str(error).startswith("Authentication required") else "ours is not the right one"
        raise UserError(
            f"the cluster at {address} asks for a token, and {wrong}; put the cluster's into ~/.ray/auth_token, or "
            "name it by RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH (`ray get-auth-token` on the head prints it), with "
            "RAY_AUTH_MODE=token"
        ) from error
    except Refused as error:
        last = (error.text.strip().splitlines() or [""])[-1]
        raise UserError(f"the cluster at {address} answers with status {error.status}: {last}") from error
    except (OSError, aiohttp.ClientError) as error:  # requests' errors of connection are OSErrors
        raise UserError(
            f"no Ray cluster answers at {address} ({error}); start it, or give the address of its dashboard as "
            f"{_EXAMPLE}"
        ) from error
    finally:
        logging.disable(before)


def _with_scheme(address: str) -> str:
    """The address as Ray's client is to have it, once something listens there.

    Ray takes an address without a scheme for that of its own protocol, and waits long for an answer in it.
    """
    if address == "auto":
        return address
    if address.startswith("ray://"):
        raise UserError(f"--address {address}: jobs are sent to the dashboard of a cluster; give {_EXAMPLE}")
    with in_words(address):
        host, port = reach(address, "--address")
    return f"http://{address}" if "://" not in address and _speaks_http(host, port) else address


def _speaks_http(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=CONNECT_WITHIN_S)
    try:
        connection.request("GET", "/api/version")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


@contextmanager
def _prevailing(name: str, value: str) -> Generator[None]:
    """Sets a variable that Ray lets prevail over its arguments, and puts back what was there."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
