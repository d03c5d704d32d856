"""Jobs on a real head with token authentication, sent, followed, refused and stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_runs import SIZES, write_small_dataset

from distributed_il.training.checkpoint import CheckpointStore

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
TOKEN = "a-token-of-these-tests-and-no-other"
PATIENCE_S = 120
STEPS_A_ROUND = SIZES["train"] // 64
"""Of the run that is stopped."""


@dataclass(frozen=True)
class Head:
    """A head with one CPU, and how a user would talk to it."""

    dashboard: str
    gcs: str
    environment: dict[str, str]

    def submit(self, *argv: str, **changed: str | None) -> subprocess.CompletedProcess[str]:
        """`distributed-il submit`, with variables set anew or taken away."""
        return self.call("-m", "distributed_il", "submit", *argv, **changed)

    def call(self, *argv: str, **changed: str | None) -> subprocess.CompletedProcess[str]:
        environment = self.environment | {"RAY_API_SERVER_ADDRESS": self.dashboard} | changed
        return subprocess.run(
            [sys.executable, *argv],
            env={name: value for name, value in environment.items() if value is not None},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )


def wait_until(holds: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.1)):
        if holds():
            return
        pause.wait(0.1)
    raise AssertionError("it did not come about")


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        return [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def node(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is `ray start --block`; it ends its own daemons when it is asked to end."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE_S)


@contextmanager
def short_directory() -> Iterator[str]:
    """For a node's files; sockets lie in it, and their names may not be long."""
    path = tempfile.mkdtemp(prefix="il-")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def temp_dir() -> Iterator[str]:
    with short_directory() as path:
        yield path


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    gcs, dashboard, agent, client = free_ports(4)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "DISTRIBUTED_IL_"))
    }
    environment |= {
        "HOME": str(tmp_path_factory.mktemp("home")),
        "PATH": f"{BIN}:{environment['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    start = [str(BIN / "ray"), "start", "--head", "--block", "--num-cpus=1", "--node-ip-address=127.0.0.1"]
    start += [f"--port={gcs}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    start += [f"--ray-client-server-port={client}", f"--object-store-memory={100 << 20}"]
    with short_directory() as place, node([*start, f"--temp-dir={place}"], environment):
        wait_until(lambda: listens(dashboard))
        yield Head(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}", environment)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage with a dataset."""
    path = tmp_path_factory.mktemp("shared")
    write_small_dataset(path / "data")
    return path


def test_a_job_runs_once_and_its_log_and_exit_code_come_back(head: Head, shared: Path) -> None:
    absent = f"{shared}/no run; touch {shared}/touched"
    argv = ["--wait", "--submission-id=once", "evaluate", f"--run_dir={absent}"]
    for beginning in ("once: sent to", "once: sent before, FAILED with exit code 2"):
        done = head.submit(*argv)
        assert done.returncode == 2, done.stderr
        told, said = done.stdout.splitlines()
        assert told.startswith(beginning)
        assert (
            said
            == f"distributed-il: {absent} holds no checkpoint named best; give the run.dir of a run that was trained"
        )
        assert done.stderr == "once: FAILED with exit code 2\n"
    assert not (shared / "touched").exists()
    listed = head.submit("list").stdout.splitlines()
    assert [line.split()[:2] for line in listed] == [["id", "status"], ["once", "FAILED"]]
    assert head.submit("log", "once").stdout == f"{said}\n"
    assert head.submit("stop", "once").stdout == "once: FAILED with exit code 2\n"


def test_rays_own_submitter_runs_it_too(head: Head, shared: Path) -> None:
    argv = ["job", "submit", "--working-dir", str(ROOT / "jobs"), "--", "python", "-m", "distributed_il", "evaluate"]
    done = head.call(str(BIN / "ray"), *argv, f"--run_dir={shared}/absent")
    assert done.returncode == 1
    assert "holds no checkpoint named best" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"RAY_AUTH_TOKEN": None}, "couldn't find an authentication token; put the token into"),
        ({"RAY_AUTH_TOKEN": None, "RAY_AUTH_MODE": None}, "Missing authentication token; put the token into"),
        ({"RAY_AUTH_TOKEN": "another"}, "Invalid authentication token; put the token into"),
        ({"RAY_API_SERVER_ADDRESS": "http://127.0.0.1:1"}, "no Ray cluster answers at http://127.0.0.1:1"),
        ({"RAY_API_SERVER_ADDRESS": None}, "which cluster?"),
    ],
)
def test_without_the_right_token_or_address_nothing_is_sent(
    changed: dict[str, str | None], words: str, head: Head
) -> None:
    before = head.submit("list").stdout
    done = head.submit("simulate", "--output=/nowhere", **changed)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert head.submit("list").stdout == before


def test_a_cluster_may_be_named_by_its_own_address(head: Head) -> None:
    ours = head.submit("list").stdout
    assert head.submit("list", RAY_API_SERVER_ADDRESS=None, RAY_ADDRESS=head.gcs).stdout == ours
    assert head.submit("list", f"--address={head.dashboard.removeprefix('http://')}").stdout == ours


def test_more_workers_than_there_is_capacity_for_are_told_after_the_time_given(head: Head, shared: Path) -> None:
    done = head.submit(
        "--wait", "train", f"--data.path={shared}/data", f"--run.dir={shared}/wide", "--run.workers=2",
        "--run.wait_for_workers_s=6",
    )  # fmt: skip
    assert done.returncode == 2
    waiting, refusal = done.stdout.splitlines()[-2:]
    assert waiting.startswith("waiting up to 6 s for capacity: 2 workers of 1 CPU each; it has 1 CPU")
    assert "the cluster has no capacity for 2 workers of 1 CPU each: it has 1 CPU (1 free) on 1 node" in refusal


def test_a_run_that_is_stopped_saves_itself_and_goes_on_in_the_next_job(head: Head, shared: Path) -> None:
    run = shared / "stopped"
    train = ["train", f"--data.path={shared}/data", f"--run.dir={run}", "--run.batch_size=64", "--method.name=none"]
    patient = ["--run.patience=1000", "--run.max_rounds=1000"]
    assert head.submit("--submission-id=long", *train, *patient).returncode == 0
    wait_until(lambda: CheckpointStore(str(run)).newest() is not None)
    stopped = head.submit("stop", "long")
    assert stopped.stdout.splitlines() == ["long: asked to stop; if it runs, its end is waited for", "long: STOPPED"]
    assert f"the same command goes on from the last checkpoint in {run}" in head.submit("log", "long").stdout
    saved = CheckpointStore(str(run)).manifest("last")
    assert saved is not None
    rounds = saved["step"] // STEPS_A_ROUND + 1
    again = head.submit("--wait", *train, "--run.patience=1000", f"--run.max_rounds={rounds}")
    assert again.returncode == 0, again.stdout
    assert f"round {rounds}/{rounds} " in again.stdout
    assert f"round {rounds - 1}/{rounds} " not in again.stdout
    assert json.loads((run / "metrics.json").read_text())["run"]["optimizer_steps"] == rounds * STEPS_A_ROUND


def may_mount() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not shutil.which("unshare") or not may_mount(), reason="needs the right to mount")
@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("data", "holds no manifest.json"),
        ("runs", "is not the directory that the driver sees; put it on"),
    ],
)
def test_a_node_that_does_not_see_the_storage_is_named(
    missing: str, words: str, head: Head, shared: Path, temp_dir: str
) -> None:
    (shared / "runs").mkdir(exist_ok=True)
    hidden = 'mount -t tmpfs none "$1" && shift && exec "$@"'
    start = [str(BIN / "ray"), "start", "--block", f"--address={head.gcs}", "--node-ip-address=127.0.0.1"]
    start += ["--num-cpus=1", f"--object-store-memory={100 << 20}", f"--temp-dir={temp_dir}"]
    with node(["unshare", "--mount", "sh", "-c", hidden, "sh", str(shared / missing), *start], head.environment):
        done = head.submit(
            "--wait", "train", f"--data.path={shared}/data", f"--run.dir={shared}/runs/a", "--run.workers=2"
        )
    assert done.returncode == 2, done.stdout
    refusal = done.stdout.splitlines()[-1]
    assert refusal.startswith("distributed-il: node ")
    assert words in refusal
    assert not (shared / "runs" / "a" / "checkpoints").exists()
