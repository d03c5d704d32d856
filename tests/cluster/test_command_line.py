"""`python -m cluster.local` as it is typed."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import alive

from cluster.local import LocalCluster, running
from cluster.local.__main__ import main
from cluster.local.node import descendants
from distributed_il.core.errors import UserError

COMMAND = [sys.executable, "-m", "cluster.local"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for temporary files whose path, unlike that of pytest's own, is short enough for sockets."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    with tempfile.TemporaryDirectory(prefix="t-") as place:
        monkeypatch.setenv("TMPDIR", place)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(place)


def ended(pids: set[int]) -> bool:
    """Whether all of them end within half a minute."""
    deadline = time.monotonic() + 30
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pids)


@pytest.mark.usefixtures("temporary")
@pytest.mark.parametrize("words", [["down"], ["env"], ["run", "--", "true"]])
def test_what_needs_a_cluster_says_how_to_start_one(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "no cluster local is up; `python -m cluster.local up" in capsys.readouterr().err


@pytest.mark.usefixtures("temporary")
@pytest.mark.parametrize("name", ["../up", "Two Words", "", "x" * 13])
def test_a_name_is_a_plain_word(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down", "--name", name]) == 2
    assert "can't name a cluster" in capsys.readouterr().err


def test_the_place_of_clusters_must_be_this_users_alone(temporary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (temporary / f"il-{os.getuid()}").mkdir(mode=0o755)
    assert main(["up"]) == 2
    assert "is not a directory of this user alone" in capsys.readouterr().err


@pytest.mark.usefixtures("temporary")
def test_a_name_is_held_once(capsys: pytest.CaptureFixture[str]) -> None:
    with running.held("local"):
        assert main(["up"]) == 2
    assert "cluster local is up already" in capsys.readouterr().err


@pytest.mark.usefixtures("temporary")
def test_no_nodes_are_no_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--nodes=0"]) == 2
    assert "give at least one of each" in capsys.readouterr().err


@pytest.mark.usefixtures("temporary")
def test_a_place_too_deep_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="TMPDIR"):
        LocalCluster(directory=tmp_path / ("x" * 40), namespaces=False).start()


@pytest.mark.cluster
@pytest.mark.usefixtures("temporary")
def test_a_cluster_in_the_background_is_used_by_name_and_ended() -> None:
    def typed(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*COMMAND, *words], text=True, capture_output=True, timeout=240)

    up = typed("up", "--nodes=1", "--port=0", "--background")
    assert up.returncode == 0, up.stderr
    state = running.find("local")
    assert state is not None
    try:
        below = descendants(state.pid)
        assert state.dashboard in up.stdout

        variables, ray = typed("env").stdout, f"{shlex.quote(sys.executable)} -m ray.scripts.scripts"
        jobs = subprocess.run(["sh", "-c", f"{variables}\n{ray} job list"], text=True, capture_output=True, timeout=120)
        assert jobs.returncode == 0, jobs.stderr
        status = typed("run", "--", "sh", "-c", "ray status && exit 7")
        assert status.returncode == 7, status.stderr
        assert "Active" in status.stdout
        assert os.path.samefile(typed("run", "--", "pwd").stdout.strip(), Path.cwd())
    finally:
        down = typed("down")
    assert down.returncode == 0
    assert ended({state.pid, *below})
    assert running.find("local") is None
    assert typed("down").returncode == 2


@pytest.mark.cluster
@pytest.mark.usefixtures("temporary")
def test_up_with_a_command_returns_its_exit_code() -> None:
    up = subprocess.run(
        [*COMMAND, "up", "--nodes=1", "--port=0", "--", "sh", "-c", "exit 5"], capture_output=True, timeout=240
    )
    assert up.returncode == 5


@pytest.mark.cluster
@pytest.mark.usefixtures("temporary")
@pytest.mark.parametrize("sharing", [[], ["--one_address"]], ids=["namespaces if possible", "one address"])
def test_sigkill_of_a_node_or_of_the_holder_ends_all_that_they_started(sharing: list[str]) -> None:
    with subprocess.Popen([*COMMAND, "up", "--nodes=1", "--port=0", *sharing], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        for line in holder.stdout:  # the last line of what it says once it is up
            if b"local down" in line:
                break
        state = running.find("local")
        assert state is not None
        node = state.nodes["node-1"]
        below_node, below_holder = descendants(node), descendants(holder.pid)
        assert len(below_node) > 2
        assert len(below_holder) > 10

        os.kill(node, signal.SIGKILL)
        assert ended({node, *below_node})
        assert alive({state.nodes["head"]})  # it lives on
        holder.send_signal(signal.SIGKILL)
    assert ended(below_holder)
