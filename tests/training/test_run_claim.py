"""Who holds a run's directory, who may take it, and that a run which lost it writes nothing more."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pyarrow import fs as pafs

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import DataConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.training import run_claim
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.resume import check_best
from distributed_il.training.run_claim import CLAIM_FILE, SILENT_S, TakenOver, claim_run
from distributed_il.training.run_hooks import RunHooks
from distributed_il.training.trainer import Trainer


def held(run_dir: Path) -> dict[str, Any]:
    return json.loads((run_dir / CLAIM_FILE).read_text())


def leave(run_dir: Path, *, silent_s: float = 0.0, **changed: Any) -> None:
    """Leaves the document of a driver that is this process but for what is changed."""
    path = run_dir / CLAIM_FILE
    path.unlink(missing_ok=True)
    with claim_run(str(run_dir)):
        document = held(run_dir) | {"id": "other"} | changed
    path.write_text(json.dumps(document))
    written = path.stat().st_mtime - silent_s
    os.utime(path, (written, written))


def test_a_directory_is_held_for_as_long_as_the_run_lasts(tmp_path: Path) -> None:
    with claim_run(str(tmp_path / "run")) as claim:
        claim.check()
        assert held(tmp_path / "run")["pid"] == os.getpid()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_living_process_of_this_machine_keeps_it_even_if_told_to_give_it_up(tmp_path: Path) -> None:
    with claim_run(str(tmp_path)) as claim:
        for take_over in (False, True):
            with (
                pytest.raises(UserError, match=f"in use by process {os.getpid()}, .* another run.dir"),
                claim_run(str(tmp_path), take_over=take_over),
            ):
                pass
        claim.check()


def test_what_a_dead_process_held_is_taken_at_once(tmp_path: Path) -> None:
    for gone in ({"started": held_start() - 1}, {"pid": 2**22 + 1}):  # another had the number; nobody has it
        leave(tmp_path, **gone)
        with claim_run(str(tmp_path)) as claim:
            claim.check()


def held_start() -> int:
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])


def test_a_process_that_was_killed_and_not_yet_reaped_is_dead(tmp_path: Path) -> None:
    program = "import sys; from distributed_il.training.run_claim import claim_run\n"
    program += "with claim_run(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    other = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdin=pipe, stdout=pipe)
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match=f"in use by process {other.pid}"), claim_run(str(tmp_path)):
        pass
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    with claim_run(str(tmp_path)):
        assert held(tmp_path)["pid"] == os.getpid()
    other.communicate()


@pytest.mark.parametrize("machine", ["another boot", ""])
def test_another_machine_keeps_it_while_it_gives_signs_of_life(machine: str, tmp_path: Path) -> None:
    leave(tmp_path, machine=machine, host="far", pid=2**22 + 1, silent_s=SILENT_S - 10)
    before = held(tmp_path)
    with pytest.raises(UserError, match=r"on far, .* 80 s ago; .* --take_over$"), claim_run(str(tmp_path)):
        pass
    assert held(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == 1
    leave(tmp_path, machine=machine, silent_s=SILENT_S + 1)
    with claim_run(str(tmp_path)) as claim:
        claim.check()


def test_who_is_taken_over_learns_it_and_leaves_the_other_alone(tmp_path: Path) -> None:
    with claim_run(str(tmp_path)) as first:
        leave_to_other = held(tmp_path) | {"machine": "another boot"}
        (tmp_path / CLAIM_FILE).write_text(json.dumps(leave_to_other))
        first.check()
        with claim_run(str(tmp_path), take_over=True) as second:
            second.check()
            with pytest.raises(TakenOver, match=f"was taken over by process {os.getpid()} on .* two directories"):
                first.check()
    with pytest.raises(TakenOver, match="was given up"):
        first.check()
    assert not (tmp_path / CLAIM_FILE).exists()


def test_an_end_does_not_remove_the_document_of_another(tmp_path: Path) -> None:
    with claim_run(str(tmp_path)):
        (tmp_path / CLAIM_FILE).write_text(json.dumps(held(tmp_path) | {"id": "other"}))
    assert held(tmp_path)["id"] == "other"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", "null", '{"id": 1}', '{"id":"a","host":"b","machine":"c","pid":"1","started":2}']
)
def test_a_damaged_document_is_named_and_can_be_replaced(content: str, tmp_path: Path) -> None:
    (tmp_path / CLAIM_FILE).write_text(content)
    with pytest.raises(UserError, match=rf"{CLAIM_FILE} is damaged: .* --take_over$"), claim_run(str(tmp_path)):
        pass
    with claim_run(str(tmp_path), take_over=True) as claim:
        claim.check()


class Beats:
    """An event that is set after some waits; `before` is called at each."""

    def __init__(self, count: int, before: Callable[[], None] = lambda: None) -> None:
        self.left, self._before = count, before

    def wait(self, _: float) -> bool:
        self.left -= 1
        self._before()
        return self.left < 0


def test_a_driver_gives_signs_of_life_while_it_holds_the_directory_and_none_after(tmp_path: Path) -> None:
    path, local = tmp_path / CLAIM_FILE, pafs.LocalFileSystem()
    with claim_run(str(tmp_path)) as claim:
        content = path.read_bytes()
        os.utime(path, (0, 0))
        run_claim._beat(local, str(path), content, claim, Beats(1))  # type: ignore[arg-type]
        assert path.stat().st_mtime > 0
        assert path.read_bytes() == content
        path.write_text(json.dumps(held(tmp_path) | {"id": "other"}))
        beats = Beats(3)
        run_claim._beat(local, str(path), content, claim, beats)  # type: ignore[arg-type]
        assert beats.left == 2
        assert held(tmp_path)["id"] == "other"


def test_storage_without_renames_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def place(_: str) -> tuple[pafs.FileSystem, str]:
        return pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), "run"

    monkeypatch.setattr(run_claim, "filesystem", place)
    with claim_run("s3://bucket/run") as claim:
        claim.check()
        leave_to_other = held(tmp_path / "run") | {"machine": "another boot", "id": "other"}
        (tmp_path / "run" / CLAIM_FILE).write_text(json.dumps(leave_to_other))
        with pytest.raises(UserError, match="in use by process"), claim_run("s3://bucket/run"):
            pass
        with pytest.raises(TakenOver):
            claim.check()


def config_of(dataset: Dataset, run_dir: Path, *, seed: int = 0, rounds: int = 2) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(path=dataset.path),
        run=RunConfig(dir=str(run_dir), batch_size=100, max_rounds=rounds, patience=9, seed=seed),
        method=NoneConfig(),
    )


def trainer_of(config: TrainConfig, dataset: Dataset, **hooks: Any) -> Trainer:
    return Trainer(
        config,
        dataset,
        reader=LocalBlockReader(dataset),
        collectives=LocalCollectives(),
        device=torch.device("cpu"),
        hooks=RunHooks(**hooks),
    )


def test_a_run_that_lost_its_directory_writes_nothing_more(tiny_dataset: Dataset, tmp_path: Path) -> None:
    def taken(_: dict[str, Any]) -> None:
        (run_dir / CLAIM_FILE).write_text(json.dumps(held(run_dir) | {"id": "other"}))

    run_dir = tmp_path / "run"
    with claim_run(str(run_dir)) as claim:
        trainer = trainer_of(config_of(tiny_dataset, run_dir), tiny_dataset, check_claim=claim.check, on_round=taken)
        with pytest.raises(TakenOver):
            trainer.run()
    assert [path.name for path in (run_dir / "checkpoints").iterdir() if path.is_dir()] == ["000001-00000006"]
    assert not (run_dir / "metrics.json").exists()
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    with pytest.raises(TakenOver):
        trainer_of(config_of(tiny_dataset, run_dir), tiny_dataset, check_claim=claim.check).run()
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before


def test_the_best_checkpoint_of_another_run_is_not_taken_for_ones_own(tiny_dataset: Dataset, tmp_path: Path) -> None:
    mine, other = config_of(tiny_dataset, tmp_path / "mine"), config_of(tiny_dataset, tmp_path / "other", seed=1)
    trainer_of(other, tiny_dataset).fit()
    manifest = CheckpointStore(other.run.dir).manifest("best")
    assert manifest is not None
    theirs = Path(manifest["place"])

    def mix_up(entry: dict[str, Any]) -> None:
        if entry["round"] == 2:
            checkpoints = Path(mine.run.dir, "checkpoints")
            shutil.copytree(theirs, checkpoints / theirs.name, dirs_exist_ok=True)
            names = json.loads((checkpoints / "names.json").read_text())
            (checkpoints / "names.json").write_text(json.dumps({"last": names["last"], "best": theirs.name}))

    with pytest.raises(UserError, match=r"`best` names .*, which is of another run, .* never two runs in one"):
        trainer_of(mine, tiny_dataset, on_round=mix_up).run()
    assert not Path(mine.run.dir, "metrics.json").exists()


def test_a_best_checkpoint_is_known_by_its_rounds(tmp_path: Path) -> None:
    history = [{"round": 1, "auc": math.nan}, {"round": 2, "auc": 0.5}]
    manifest = {"place": "there", "facts": {"course": {"history": json.loads(json.dumps(history))}}}
    assert check_best(manifest, history, "checkpoints") is manifest
    for wrong in (history[:1], [], [*history, history[1]], [history[0], {"round": 2, "auc": 0.25}]):
        with pytest.raises(UserError, match="there, which is of another run"):
            check_best(manifest, wrong, "checkpoints")
    with pytest.raises(UserError, match="names no checkpoint"):
        check_best(None, history, "checkpoints")
