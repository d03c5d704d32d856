"""`distributed-il submit`, through real arguments: what is sent, what is asked for, what people read."""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from job_details import job_details
from ray.job_submission import JobDetails

from distributed_il.cli import main
from distributed_il.cli.given import collect
from distributed_il.cli.submit import SENT, arguments_there, split
from distributed_il.core.errors import UserError
from distributed_il.runtime.jobs import client
from distributed_il.runtime.jobs.client import JobClient

FEATURES = ["--user_features=u.csv", "--user_feature_columns=[age]"]
TRAIN = ["train", "--data.path=/shared/data", "--run.dir=/shared/run"]


class Board(JobClient):
    """A cluster that keeps what it is told; a job that is followed fails."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.known: dict[str, JobDetails] = {}
        self.stopped: list[str] = []
        self.interrupted = False

    def get_address(self) -> str:
        return "http://head:8265"

    def submit_job(self, **job: Any) -> str:
        name = job["submission_id"]
        if name in self.known:
            raise RuntimeError(f"Job with submission_id {name} already exists.")
        self.sent.append(job)
        self.known[name] = job_details(name, "RUNNING", entrypoint=job["entrypoint"])
        return name

    def get_job_info(self, job_id: str) -> JobDetails:
        return self.known[job_id]

    def list_jobs(self) -> list[JobDetails]:
        return list(self.known.values())

    def stop_job(self, job_id: str) -> bool:
        self.stopped.append(job_id)
        if self.known[job_id].status == "RUNNING":
            self.known[job_id] = job_details(job_id, "STOPPED")
        return True

    def get_job_logs(self, job_id: str) -> str:
        return f"log of {job_id}\n"

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        if self.interrupted:
            raise KeyboardInterrupt
        yield self.get_job_logs(job_id)
        self.known[job_id] = job_details(job_id, "FAILED", driver_exit_code=7)


@pytest.fixture
def addresses() -> list[str | None]:
    """Of the clusters that were connected to."""
    return []


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch, addresses: list[str | None]) -> Board:
    """In place of a cluster."""
    for name in os.environ:
        if name.startswith("DISTRIBUTED_IL_"):
            monkeypatch.delenv(name)
    board = Board()

    @contextmanager
    def connect(address: str | None) -> Iterator[Board]:
        addresses.append(address)
        yield board

    monkeypatch.setattr(client, "connect", connect)
    return board


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["submit", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err


# What belongs to the sending, and what to the command that is sent


@pytest.mark.parametrize(
    ("argv", "flags", "rest"),
    [
        (["--wait", "train", "--wait"], ["--wait"], ["train", "--wait"]),
        (["trian", "--wait"], [], ["trian", "--wait"]),
        (["--address", "list", "list"], ["--address", "list"], ["list"]),
        (["log", "--wait", "train", "--pip", "x"], ["--wait", "--pip", "x"], ["log", "train"]),
        (["--submission-id=a-b", "stop", "a-b"], ["--submission_id=a-b"], ["stop", "a-b"]),
        (["--env-vars.A-B=c-d", "-h"], ["--env_vars.A-B=c-d", "-h"], [""]),
        (["--env_vars.A", "--wait", "train"], ["--env_vars.A", "--wait"], ["train"]),
        ([], [], [""]),
    ],
)
def test_flags_end_where_the_command_begins(argv: list[str], flags: list[str], rest: list[str]) -> None:
    assert split(argv) == (flags, rest)


def test_train_is_sent_as_it_would_run_here(board: Board, addresses: list[str | None]) -> None:
    flags = ["--address", "http://head:8265", "--submission-id=n", "--pip=[a,b]", "--env_vars.A=1"]
    assert main(["submit", *flags, "--entrypoint-num-cpus=2", *TRAIN, "--run.seed", "3"]) == 0
    (job,) = board.sent
    assert (
        job["entrypoint"]
        == "python -m distributed_il train --data.path=/shared/data --run.dir=/shared/run --run.seed=3"
    )
    assert (job["submission_id"], job["entrypoint_num_cpus"]) == ("n", 2.0)
    assert (job["runtime_env"]["pip"], job["runtime_env"]["env_vars"]["A"]) == (["a", "b"], "1")
    assert addresses == ["http://head:8265"]


def test_settings_of_the_sending_may_come_from_a_file(
    board: Board, addresses: list[str | None], tmp_path: Path
) -> None:
    (tmp_path / "cluster.yaml").write_text("address: http://head:8265\nenv_vars: {A: b}\npip: [x]\n")
    assert main(["submit", "--config", str(tmp_path / "cluster.yaml"), *TRAIN]) == 0
    assert addresses == ["http://head:8265"]
    assert board.sent[0]["runtime_env"]["env_vars"]["A"] == "b"
    assert "cluster.yaml" not in board.sent[0]["entrypoint"]


@pytest.mark.parametrize(
    "argv",
    [
        ["prepare", "--source=/shared/raw", "--output=/shared/data"],
        ["simulate", "--output=s3://bucket/data"],
        TRAIN,
        ["evaluate", "--run_dir=/shared/run"],
    ],
    ids=lambda argv: argv[0],
)
def test_every_command_of_the_table_can_be_sent(argv: list[str], board: Board) -> None:
    assert argv[0] in SENT
    assert main(["submit", *argv]) == 0
    assert board.sent[0]["entrypoint"] == shlex.join(["python", "-m", "distributed_il", *argv])


def test_the_module_is_the_same_command(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["submit.py", *TRAIN])
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    with pytest.raises(SystemExit) as left:
        runpy.run_module("jobs.submit", run_name="__main__")
    assert left.value.code == 0
    assert len(board.sent) == 1


# What would go wrong there is refused here


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], f"say what to send ({', '.join(SENT)}), or list, log, stop"),
        (["trian"], "did you mean 'train'"),
        (["submit"], "there is no 'submit'"),
        (["--adress=http://head:8265", *TRAIN], "did you mean 'address'"),
        (["--submission-id=../a", *TRAIN], "letters, digits"),
        (["--entrypoint-num-cpus=-1", *TRAIN], "0 or a finite number"),
        ([*TRAIN, "--run.sed=3"], "did you mean 'run.seed'"),
        ([*TRAIN, "--run.seed=-3"], "run.seed is -3"),
        (["train", "--data.path=/shared/data"], "run.dir is missing"),
        (["train", "--data.path=data", "--run.dir=/shared/run"], f"such as {os.path.abspath('data')}"),
        (["evaluate", "--run_dir", "runs/a"], "--run_dir: run_dir is 'runs/a'"),
        (["prepare", "--source=/a", "--output=/b", *FEATURES], "--user_features: user_features is 'u.csv'"),
        ([*TRAIN, "--wait"], "--wait belongs to submit; give it before train"),
        ([*TRAIN, "--submission-id=a"], "--submission-id belongs to submit; give it before train"),
        ([*TRAIN, "--config=/nowhere/job.yaml"], "No such file"),
        (["list", "a"], "submit list takes no more words"),
        (["stop"], "submit stop takes the id of one job"),
        (["log", "a", "b"], "submit log takes the id of one job"),
        (["stop", "a/../b"], "letters, digits"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(
    argv: list[str], words: str, board: Board, addresses: list[str | None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refusal(capsys, *argv)
    assert addresses == []


def test_a_relative_place_in_a_file_is_blamed_on_the_file(
    board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text("data: {path: data}")
    message = refusal(capsys, "train", "--config=job.yaml", "--run.dir=/shared/run")
    assert "job.yaml: data.path is 'data'" in message


# Configuration files and variables go with the job


def test_files_and_variables_are_given_anew_from_where_the_job_starts(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code" / "jobs").mkdir(parents=True)
    (tmp_path / "code" / "jobs" / "a b.yaml").write_text("run: {seed: 3}")
    (tmp_path / "code" / "c.yaml").write_text("run: {seed: 4}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISTRIBUTED_IL_TRAIN__CONFIG", "code/jobs/a b.yaml")
    monkeypatch.setenv("DISTRIBUTED_IL_TRAIN__RUN__WORKERS", "2")
    monkeypatch.setenv("DISTRIBUTED_IL_PREPARE__SEED", "2")
    assert main(["submit", "--working-dir=code", *TRAIN, "--config", str(tmp_path / "code" / "c.yaml")]) == 0
    (job,) = board.sent
    assert shlex.split(job["entrypoint"])[3:] == [
        "train", "--config=jobs/a b.yaml", "--config=c.yaml", "--run.workers=2", *TRAIN[1:]
    ]  # fmt: skip
    assert not [name for name in job["runtime_env"]["env_vars"] if name.startswith("DISTRIBUTED_IL")]


def test_the_space_of_a_sweep_travels_too(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "space.yaml").write_text("run.seed: {choice: [1, 2]}")
    monkeypatch.chdir(tmp_path)
    argv = ["--sweep.space", str(tmp_path / "space.yaml"), *TRAIN[1:]]
    assert main(["submit", "sweep", *argv]) == 0
    assert shlex.split(board.sent[0]["entrypoint"])[3:] == ["sweep", "--sweep.space=space.yaml", *TRAIN[1:]]


def test_a_configuration_that_the_job_would_not_see_is_refused(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("run: {seed: 3}")
    given = collect("train", ["--config", str(tmp_path / "job.yaml")], {})
    with pytest.raises(UserError, match=r"lies outside of .*code.*--working_dir"):
        arguments_there(given, str(tmp_path / "code"))


def test_in_a_directory_that_is_already_there_files_keep_their_names(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("run: {seed: 3}")
    given = collect("train", ["--config", str(file), "--run.seed=3"], {})
    assert arguments_there(given, "s3://bucket/code.zip") == [f"--config={file}", "--run.seed=3"]


@hypothesis.given(st.lists(st.tuples(st.from_regex(r"[a-z_]+(\.[a-z_]+)?", fullmatch=True), st.none() | st.text())))
def test_arguments_without_files_mean_there_what_they_mean_here(settings: list[tuple[str, str | None]]) -> None:
    settings = [(key, value) for key, value in settings if key not in ("config", "help", "print_config")]
    arguments = [f"--{key}" if value is None else f"--{key}={value}" for key, value in settings]
    given = collect("train", arguments, {})
    there = collect("train", arguments_there(given, "."), {})
    assert [(setting.key, setting.value) for setting in there.texts] == [
        (setting.key, setting.value) for setting in given.texts
    ]


# What people read


def test_a_job_that_was_sent_is_told_with_what_to_do_next(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--address=http://head:8265", "--submission-id=n", *TRAIN]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "n: sent to http://head:8265",
        "  follow it: distributed-il submit --address=http://head:8265 log n --wait",
        "  stop it:   distributed-il submit --address=http://head:8265 stop n",
    ]


def test_a_job_that_was_sent_before_is_shown(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"python -m distributed_il {shlex.join(TRAIN)}"
    board.known["n"] = job_details("n", "FAILED", entrypoint=command, driver_exit_code=3)
    assert main(["submit", "--submission-id=n", *TRAIN]) == 0
    assert capsys.readouterr().out == "n: sent before, FAILED with exit code 3\n"


@pytest.mark.parametrize("argv", [["--submission-id=n", "--wait", *TRAIN], ["log", "n", "--wait"]])
def test_waiting_shows_the_log_and_leaves_with_the_jobs_code(
    argv: list[str], board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    board.known["n"] = job_details("n", "RUNNING", entrypoint=f"python -m distributed_il {shlex.join(TRAIN)}")
    assert main(["submit", *argv]) == 7
    out, err = capsys.readouterr()
    assert out.endswith("log of n\n")
    assert err == "n: FAILED with exit code 7\n"


def test_who_stops_waiting_leaves_the_job_alone(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    board.interrupted = True
    assert main(["submit", "--submission-id=n", "--wait", *TRAIN]) == 130
    assert "n goes on; `distributed-il submit stop n` stops it" in capsys.readouterr().err
    assert board.stopped == []


def test_flags_may_stand_behind_words_about_jobs(board: Board, addresses: list[str | None]) -> None:
    board.known["n"] = job_details("n", "RUNNING")
    assert main(["submit", "log", "--address", "http://head:8265", "n"]) == 0
    assert main(["submit", "stop", "n", "--address=http://head:8265"]) == 0
    assert addresses == ["http://head:8265"] * 2
    assert board.stopped == ["n"]


def test_who_stops_a_job_that_has_not_begun_is_told_when_it_ends(
    board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    board.known["n"] = job_details("n", "PENDING", message="It waits.")
    assert main(["submit", "stop", "n"]) == 0
    asked, state = capsys.readouterr().out.splitlines()
    assert asked.startswith("n: asked to stop")
    assert state == "n: PENDING: It waits. Ray stops it when its turn comes."


def test_jobs_are_listed_and_drivers_left_out(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    board.known["driver"] = job_details("somebody's notebook", "RUNNING", type="DRIVER")
    assert main(["submit", "list"]) == 0
    assert capsys.readouterr().out == "no jobs were sent to http://head:8265 since it started\n"
    board.known["n"] = job_details("n", "RUNNING")
    assert main(["submit", "list"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [["id", "status"], ["n", "RUNNING"]]


def test_a_log_is_written_as_it_stands(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    board.known["n"] = job_details("n", "RUNNING")
    assert main(["submit", "log", "n"]) == 0
    assert capsys.readouterr().out == "log of n\n"


def test_only_what_has_not_ended_is_stopped(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    board.known["n"] = job_details("n", "SUCCEEDED")
    assert main(["submit", "stop", "n"]) == 0
    assert capsys.readouterr().out == "n: SUCCEEDED\n"
    assert board.stopped == []


def test_help_of_a_command_is_shown_and_not_sent(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "train", "--help"]) == 0
    assert "--run.seed" in capsys.readouterr().out
    assert main(["submit", *TRAIN, "--print_config"]) == 0
    assert main(["submit", "--help"]) == 0
    out = capsys.readouterr().out
    for words in ("list | log ID | stop ID", "--submission_id", "DISTRIBUTED_IL_SUBMIT__"):
        assert words in out
    assert board.sent == []


def test_help_loads_neither_torch_nor_ray() -> None:
    program = (
        "import sys; from distributed_il.cli import main; main(['submit', '--help'])\n"
        "sys.exit(bool({'torch', 'ray'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
