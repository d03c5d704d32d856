"""What is sent, and how what became of it is told."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributed_il.core.errors import UserError
from distributed_il.runtime.jobs.job import JobState, SubmitConfig, make_job


def ended(status: str, code: int | None = None, message: str = "") -> JobState:
    return JobState("a", status, "python x", message, code)


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"))))
def test_a_shell_reads_the_very_arguments(arguments: list[str]) -> None:
    job = make_job(SubmitConfig(), "train", arguments, {})
    assert shlex.split(job.entrypoint) == ["python", "-m", "distributed_il", "train", *arguments]


def test_a_job_gets_its_environment_and_what_is_kept_for_it() -> None:
    config = SubmitConfig(
        submission_id="nightly-3",
        working_dir="/code",
        pip=["lightgbm==4.0"],
        env_vars={"A": "mine"},
        entrypoint_num_cpus=2,
        entrypoint_resources={"big": 0.5},
    )
    job = make_job(config, "prepare", [], {"A": "theirs", "DISTRIBUTED_IL_PREPARE__SEED": "4"})
    assert job.submission_id == "nightly-3"
    assert job.resources == {"entrypoint_num_cpus": 2, "entrypoint_resources": {"big": 0.5}}
    assert job.runtime_env["working_dir"] == "/code"
    assert job.runtime_env["pip"] == ["lightgbm==4.0"]
    variables = job.runtime_env["env_vars"]
    assert (variables["A"], variables["DISTRIBUTED_IL_PREPARE__SEED"]) == ("mine", "4")
    # A stopped run needs time for a checkpoint; Ray would kill it after 3 s.
    assert int(variables["RAY_JOB_STOP_WAIT_TIME_S"]) > 60


def test_without_a_name_every_job_gets_a_new_one_that_tells_the_command() -> None:
    first, second = (make_job(SubmitConfig(), "train", [], {}).submission_id for _ in range(2))
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
    ("state", "code", "said"),
    [
        (ended("SUCCEEDED", 0), 0, "SUCCEEDED"),
        (ended("RUNNING"), 0, "RUNNING"),
        (ended("PENDING", None, "It may be\nwaiting"), 0, "PENDING: It may be waiting"),
        (ended("STOPPED"), 143, "STOPPED"),
        (ended("FAILED", 2, "a long log"), 2, "FAILED with exit code 2"),
        (ended("FAILED", -9, "a long log"), 137, "FAILED with exit code 137"),
        (ended("FAILED", None, "no pip\n  here"), 1, "FAILED before it began: no pip here"),
    ],
)
def test_an_end_has_the_code_that_a_shell_would_show(state: JobState, code: int, said: str) -> None:
    assert (state.exit_code, state.said()) == (code, said)
