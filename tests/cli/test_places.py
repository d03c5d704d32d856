"""Places that can't be read or written are told in a line, before anything else is begun."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
from saved_runs import save_run
from small_datasets import make_small_dataset

from distributed_il.cli.main import main

COMMANDS = {
    "train run.dir": "train --data.path={data} --run.dir={place} --model.factors=0 --model.backbone=gmf",
    "train data.path": "train --data.path={place} --run.dir={free}",
    "train --from": "train --data.path={data} --run.dir={free} --from={place}",
    "sweep run.dir": "sweep --sweep.space=jobs/choose_space.yaml --data.path={data} --run.dir={place}",
    "sweep space": "sweep --sweep.space={place} --data.path={data} --run.dir={free}",
    "simulate output": "simulate --output={place}",
    "prepare output": "prepare --source={csv} --output={place}",
    "prepare source": "prepare --source={place} --output={free}",
    "prepare source, two workers": "prepare --source={place} --output={free} --workers=2",
    "score output": "score --run_dir={run} --split=test --output={place}",
    "score pairs": "score --run_dir={run} --pairs={place} --output={free}",
    "annotate run_dir": "annotate --run_dir={place} --output={free}",
    "recommend output": "recommend --run_dir={run} --output={place}",
    "recommend users": "recommend --run_dir={run} --users={place} --output={free}",
    "evaluate run_dir": "evaluate --run_dir={place}",
    "evaluate data": "evaluate --run_dir={run} --data={place}",
    "export output": "export --run_dir={run} --output={place}",
    "report run": "report {place} --output={free}",
    "report output": "report {run} --output={place}",
    "config": "train --config={place}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, a run of it and a log."""
    path = tmp_path_factory.mktemp("places")
    save_run(make_small_dataset(path / "data"), path / "run")
    (path / "log.csv").write_text("user_id,item_id,label\n1,2,1\n")
    return path


@pytest.fixture
def command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs a command with one bad place, and returns its exit code and what it says."""

    def refuse(**_: object) -> None:
        raise AssertionError("Ray is not to be started")

    monkeypatch.setattr(ray, "init", refuse)

    def run(line: str, place: str) -> tuple[int, str]:
        places = {"data": folder / "data", "run": folder / "run", "csv": folder / "log.csv", "free": tmp_path / "free"}
        code = main(line.format(place=place, **places).split())
        shutil.rmtree(tmp_path / "free", ignore_errors=True)
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize("line", COMMANDS.values(), ids=COMMANDS)
def test_a_bad_place_is_one_line(line: str, command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "sealed").mkdir()
    for place in (tmp_path / ("n" * 256), tmp_path / "file" / "below", Path("/proc/sealed/below")):
        code, said = command(line, str(place))
        assert code == 2, said
        *notes, told = said.splitlines()
        assert all(note.startswith("not tried: ") for note in notes)
        assert str(place) in told
