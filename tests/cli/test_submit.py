"""`distributed-il submit`, through real arguments: what is sent, what is asked for, what people read."""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributed_il.cli import main
from distributed_il.cli import submit as command
from distributed_il.cli.submit import SENT, arguments_there, job_table, split, variables_there
from distributed_il.core.errors import UserError
from distributed_il.runtime.jobs.job import Job, JobState, SubmitConfig

FEATURES = ["--user_features=u.csv", "--user_feature_columns=[age]"]
TRAIN = ["train", "--data.path=/shared/data", "--run.dir=/shared/run"]


class Board:
    """A cluster that keeps what it is told."""

    address = "http://head:8265"

    def __init__(self) -> None:
        self.sent: list[Job] = []
        self.known: dict[str, JobState] = {}
        self.stopped: list[str] = []
        self.interrupted = False

    def send(self, job: Job) -> bool:
        if job.submission_id in self.known:
            return False
        self.sent.append(job)
        self.known[job.submission_id] = JobState(job.submission_id, "RUNNING", job.entrypoint)
        return True

    def state(self, submission_id: str) -> JobState:
        return self.known[submission_id]

    end = state

    def jobs(self) -> list[JobState]:
        return list(self.known.values())

    def stop(self, submission_id: str) -> bool:
        self.stopped.append(submission_id)
        return not self.known[submission_id].ended

    def log(self, submission_id: str, write: Callable[[str], object]) -> JobState:
        write(f"log of {submission_id}\n")
        return self.known[submission_id]

    def follow(self, submission_id: str, write: Callable[[str], object], note: Callable[[str], object]) -> JobState:
        if self.interrupted:
            raise KeyboardInterrupt
        self.log(submission_id, write)
        return JobState(submission_id, "FAILED", "", driver_exit_code=7)


@pytest.fixture
def configs() -> list[SubmitConfig]:
    return []


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch, configs: list[SubmitConfig]) -> Board:
    """In place of a cluster."""
    for name in os.environ:
        if name.startswith("DISTRIBUTED_IL_"):
            monkeypatch.delenv(name)
    board = Board()
    monkeypatch.setattr(command, "_cluster", lambda config: configs.append(config) or board)
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
        (["--address", "list", "list"], ["--address", "list"], ["list"]),
        (["--submission-id=a-b", "stop", "a-b"], ["--submission_id=a-b"], ["stop", "a-b"]),
        (["--env-vars.A-B=c-d", "-h"], ["--env_vars.A-B=c-d", "-h"], []),
        (["--env_vars.A", "--wait", "train"], ["--env_vars.A", "--wait"], ["train"]),
        ([], [], []),
    ],
)
def test_flags_end_where_the_command_begins(argv: list[str], flags: list[str], rest: list[str]) -> None:
    assert split(argv) == (flags, rest)


def test_train_is_sent_as_it_would_run_here(board: Board, configs: list[SubmitConfig]) -> None:
    flags = ["--address", "http://head:8265", "--submission-id=n", "--pip=[a,b]", "--env_vars.A=1"]
    assert main(["submit", *flags, "--entrypoint-num-cpus=2", *TRAIN, "--run.seed", "3"]) == 0
    (job,) = board.sent
    assert (
        job.entrypoint == "python -m distributed_il train --data.path=/shared/data --run.dir=/shared/run --run.seed 3"
    )
    assert (job.submission_id, job.resources) == ("n", {"entrypoint_num_cpus": 2.0})
    assert (job.runtime_env["pip"], job.runtime_env["env_vars"]["A"]) == (["a", "b"], "1")
    assert configs[0].address == "http://head:8265"


def test_settings_of_the_sending_may_come_from_a_file(
    board: Board, configs: list[SubmitConfig], tmp_path: Path
) -> None:
    (tmp_path / "cluster.yaml").write_text("address: http://head:8265\nenv_vars: {A: b}\npip: [x]\n")
    assert main(["submit", "--config", str(tmp_path / "cluster.yaml"), *TRAIN]) == 0
    assert configs[0].address == "http://head:8265"
    assert board.sent[0].runtime_env["env_vars"]["A"] == "b"
    assert "cluster.yaml" not in board.sent[0].entrypoint


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
    assert board.sent[0].entrypoint == shlex.join(["python", "-m", "distributed_il", *argv])


def test_the_module_is_the_same_command(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["submit.py", *TRAIN])
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
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
    argv: list[str], words: str, board: Board, configs: list[SubmitConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refusal(capsys, *argv)
    assert configs == []


def test_a_relative_place_in_a_file_is_blamed_on_the_file(
    board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text("data: {path: data}")
    message = refusal(capsys, "train", "--config=job.yaml", "--run.dir=/shared/run")
    assert "job.yaml: data.path is 'data'" in message


# Configuration files and variables go with the job


def test_a_configuration_is_named_from_where_the_job_starts(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code" / "jobs").mkdir(parents=True)
    (tmp_path / "code" / "jobs" / "a b.yaml").write_text("run: {seed: 3}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISTRIBUTED_IL_TRAIN__CONFIG", "code/jobs/a b.yaml")
    monkeypatch.setenv("DISTRIBUTED_IL_TRAIN__RUN__WORKERS", "2")
    monkeypatch.setenv("DISTRIBUTED_IL_PREPARE__SEED", "2")
    file = str(tmp_path / "code" / "jobs" / "a b.yaml")
    assert main(["submit", "--working-dir=code", *TRAIN, "--config", file, "--config=code/jobs/a b.yaml"]) == 0
    (job,) = board.sent
    assert shlex.split(job.entrypoint)[-3:] == ["--config", "jobs/a b.yaml", "--config=jobs/a b.yaml"]
    ours = {name: value for name, value in job.runtime_env["env_vars"].items() if name.startswith("DISTRIBUTED_IL")}
    assert ours == {"DISTRIBUTED_IL_TRAIN__CONFIG": "jobs/a b.yaml", "DISTRIBUTED_IL_TRAIN__RUN__WORKERS": "2"}


def test_a_configuration_that_the_job_would_not_see_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lies outside of .*code.*--working_dir"):
        arguments_there(["--config", str(tmp_path / "job.yaml")], str(tmp_path / "code"))
    with pytest.raises(UserError, match="lies outside of"):
        variables_there("train", str(tmp_path), {"DISTRIBUTED_IL_TRAIN__CONFIG": "job.yaml"})


def test_in_a_directory_that_is_already_there_files_keep_their_names() -> None:
    arguments = ["--config", "jobs/a.yaml", "--run.seed=3"]
    assert arguments_there(arguments, "s3://bucket/code.zip") == arguments


@given(st.lists(st.text()))
def test_arguments_without_files_go_as_they_are(arguments: list[str]) -> None:
    plain = [token for token in arguments if not token.startswith("--config")]
    assert arguments_there(plain, ".") == plain


# What people read


def test_a_job_that_was_sent_is_told_with_what_to_do_next(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--address=http://head:8265", "--submission-id=n", *TRAIN]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "n: sent to http://head:8265",
        "  follow it: distributed-il submit --address=http://head:8265 log n --wait",
        "  stop it:   distributed-il submit --address=http://head:8265 stop n",
    ]


def test_a_job_that_was_sent_before_is_shown(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    board.known["n"] = JobState("n", "FAILED", "", driver_exit_code=3)
    assert main(["submit", "--submission-id=n", *TRAIN]) == 0
    assert capsys.readouterr().out == "n: sent before, FAILED with exit code 3\n"


@pytest.mark.parametrize("argv", [["--submission-id=n", "--wait", *TRAIN], ["log", "n", "--wait"]])
def test_waiting_shows_the_log_and_leaves_with_the_jobs_code(
    argv: list[str], board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    board.known["n"] = JobState("n", "RUNNING", "")
    assert main(["submit", *argv]) == 7
    out, err = capsys.readouterr()
    assert out.endswith("log of n\n")
    assert err == "n: FAILED with exit code 7\n"


def test_who_stops_waiting_leaves_the_job_alone(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    board.interrupted = True
    assert main(["submit", "--submission-id=n", "--wait", *TRAIN]) == 130
    assert "n goes on; `distributed-il submit stop n` stops it" in capsys.readouterr().err
    assert board.stopped == []


def test_flags_may_stand_behind_words_about_jobs(board: Board, configs: list[SubmitConfig]) -> None:
    board.known["n"] = JobState("n", "SUCCEEDED", "")
    assert main(["submit", "log", "--address", "http://head:8265", "n"]) == 0
    assert main(["submit", "stop", "n", "--address=http://head:8265"]) == 0
    assert [config.address for config in configs] == ["http://head:8265"] * 2
    assert board.stopped == ["n"]


def test_who_stops_a_job_that_has_not_begun_is_told_when_it_ends(
    board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    board.known["n"] = JobState("n", "PENDING", "", "It waits.")
    assert main(["submit", "stop", "n"]) == 0
    asked, state = capsys.readouterr().out.splitlines()
    assert asked.startswith("n: asked to stop")
    assert state == "n: PENDING: It waits. Ray stops it when its turn comes."


def test_jobs_are_listed_by_row(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "list"]) == 0
    assert "no jobs were sent" in capsys.readouterr().out
    done = JobState("a-long-name", "FAILED", "python -m distributed_il train --run.seed 3", "", 2, 1000.0, 1065.5)
    runs = JobState("b", "RUNNING", "bash x", started_s=1000.0)
    waits = JobState("c", "PENDING", "bash y")
    header, first, second, third = job_table([done, runs, waits], now_s=8200.0).splitlines()
    assert header.split() == ["id", "status", "started", "took", "command"]
    assert first.split()[:2] == ["a-long-name", "FAILED"]
    assert first.split()[4:] == ["1:05", "train", "--run.seed", "3"]
    assert second.split()[4:] == ["120:00", "bash", "x"]
    assert third.split() == ["c", "PENDING", "–", "–", "bash", "y"]


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
