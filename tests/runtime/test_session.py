"""A cluster that can't be joined, said in words; without a cluster."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray

from distributed_il.core.errors import UserError
from distributed_il.runtime.session import ray_session

Refusal = Callable[..., str]


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Refusal:
    """The message with which joining the cluster at an address is refused, where Ray raises an error."""

    def join(address: str, error: Exception | None = None) -> str:
        def init(**_: Any) -> None:
            assert error is not None, "Ray is not to be asked"
            raise error

        monkeypatch.setenv("RAY_ADDRESS", address)
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", init)
        with pytest.raises(UserError) as caught, ray_session(cpus=1):
            pass
        return str(caught.value)

    return join


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_the_address_of_a_dashboard_is_for_jobs(refusal: Refusal) -> None:
    assert "`distributed-il submit train …`" in refusal("http://head:8265")


@pytest.mark.parametrize("address", ["head", "127.0.0.1:port", "127.0.0.1:99999"])
def test_what_is_no_address_is_named(refusal: Refusal, address: str) -> None:
    assert f"RAY_ADDRESS {address}" in refusal(address)


def test_where_nothing_listens_ray_is_not_asked(refusal: Refusal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    assert f"no Ray cluster answers at RAY_ADDRESS={address}" in refusal(address)


def test_a_cluster_that_does_not_take_us_may_want_a_token(refusal: Refusal, listening: str) -> None:
    assert "RAY_AUTH_MODE=token" in refusal(listening, ConnectionError("failed"))


def test_other_versions_are_told_in_one_line_with_the_cure(refusal: Refusal, listening: str) -> None:
    error = RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.61.0\n    Python: 3.12.1\n")
    message = refusal(listening, error)
    assert "Ray: 2.61.0 Python: 3.12.1" in message
    assert "install the cluster's versions here" in message


def test_a_machine_too_busy_for_ray_is_told(refusal: Refusal) -> None:
    error = Exception("The current node timed out during startup. This could happen because some of the raylet failed")
    assert "this machine is busy" in refusal("local", error)


def test_other_errors_of_ray_are_not_hidden(refusal: Refusal, listening: str) -> None:
    with pytest.raises(RuntimeError, match="something else"):
        refusal(listening, RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        refusal("local", RuntimeError("something else"))
