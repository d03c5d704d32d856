"""What is sent, and how what became of it is told."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_details import job_details

from distributed_il.core.errors import UserError
from distributed_il.runtime.jobs.job import SubmitConfig, make_job
from distributed_il.runtime.jobs.state import describe, exit_code, job_table


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"))))
def test_a_shell_reads_the_very_arguments(arguments: list[str]) -> None:
    job = make_job(SubmitConfig(), "train", arguments)
    assert shlex.split(job["entrypoint"]) == ["python", "-m", "distributed_il", "train", *arguments]


def test_a_job_gets_its_environment_and_what_is_kept_for_it() -> None:
    config = SubmitConfig(
        submission_id="nightly-3",
        working_dir="/code",
        pip=["lightgbm==4.0"],
        env_vars={"A": "mine"},
        entrypoint_num_cpus=2,
        entrypoint_resources={"big": 0.5},
    )
    job = make_job(config, "prepare", [])
    environment = job.pop("runtime_env")
    assert job == {
        "submission_id": "nightly-3",
        "entrypoint": "python -m distributed_il prepare",
        "entrypoint_num_cpus": 2,
        "entrypoint_resources": {"big": 0.5},
    }
    variables = environment.pop("env_vars")
    assert environment == {"working_dir": "/code", "pip": ["lightgbm==4.0"]}
    assert variables["A"] == "mine"
    # A stopped run needs time for a checkpoint; Ray would kill it after 3 s.
    assert int(variables["RAY_JOB_STOP_WAIT_TIME_S"]) > 60


def test_without_a_name_every_job_gets_a_new_one_that_tells_the_command() -> None:
    first, second = (make_job(SubmitConfig(), "train", [])["submission_id"] for _ in range(2))
    assert first != second
    assert first.startswith("train-")
    assert SubmitConfig(submission_id=first).submission_id == first


@pytest.mark.parametrize("wrong", ["", "../etc", "a/b", "a b", "-a", "a;b", "ü", "a\n", "x" * 129])
def test_names_that_would_mean_something_in_a_url_or_path_are_refused(wrong: str) -> None:
    with pytest.raises(UserError, match="letters, digits"):
        SubmitConfig(submission_id=wrong)


@pytest.mark.parametrize(
    "wrong", [{"entrypoint_num_cpus": -1.0}, {"entrypoint_num_gpus": float("nan")}, {"entrypoint_resources": {"x": -1}}]
)
def test_amounts_that_nobody_can_keep_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="0 or a finite number"):
        SubmitConfig(**wrong)


@pytest.mark.parametrize(
    ("status", "driver_exit_code", "message", "code", "said"),
    [
        ("SUCCEEDED", 0, "", 0, "SUCCEEDED"),
        ("RUNNING", None, None, 0, "RUNNING"),
        ("PENDING", None, "It may be\nwaiting", 0, "PENDING: It may be waiting"),
        ("STOPPED", None, "", 143, "STOPPED"),
        ("FAILED", 2, "a long log", 2, "FAILED with exit code 2"),
        ("FAILED", -9, "a long log", 137, "FAILED with exit code 137"),
        ("FAILED", None, "no pip\n  here", 1, "FAILED before it began: no pip here"),
    ],
)
def test_an_end_has_the_code_that_a_shell_would_show(
    status: str, driver_exit_code: int | None, message: str | None, code: int, said: str
) -> None:
    job = job_details("a", status, driver_exit_code=driver_exit_code, message=message)
    assert (exit_code(job), describe(job)) == (code, said)


def test_jobs_are_listed_by_start() -> None:
    runs = job_details("b", "RUNNING", entrypoint="bash x", start_time=2_000_000)
    command = "python -m distributed_il train --run.seed 3"
    done = job_details("a-long-name", "FAILED", entrypoint=command, start_time=1_000_000, end_time=1_065_500)
    waits = job_details("c", "PENDING", entrypoint="bash y")
    header, first, second, third = job_table([runs, done, waits], now_s=9200.0).splitlines()
    assert header.split() == ["id", "status", "started", "took", "command"]
    assert first.split() == ["c", "PENDING", "–", "–", "bash", "y"]
    assert second.split()[:2] == ["a-long-name", "FAILED"]
    assert second.split()[4:] == ["1:05", "train", "--run.seed", "3"]
    assert third.split()[4:] == ["120:00", "bash", "x"]
