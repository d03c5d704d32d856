"""What a run says of itself before torch and Ray are there."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import small_run, write_small_dataset

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.runtime.opening import open_run, opening_lines


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_small_dataset(tmp_path_factory.mktemp("opening") / "data")


def test_a_new_run(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small_run(dataset, tmp_path / "run", workers=2)
    open_run(config)
    run, data, model = capsys.readouterr().err.splitlines()
    assert run == f"run      {tmp_path}/run: new"
    assert data.startswith(f"data     {dataset.path}: {dataset.rows('train'):,} labelled rows; ")
    assert model.startswith(f"model    {config.model.backbone} by {config.method.name}; batches of ")
    assert model.endswith(" rows, 2 workers")
    assert not list((tmp_path / "run").iterdir())


def test_a_run_that_goes_on(dataset: Dataset, tmp_path: Path) -> None:
    names = tmp_path / "checkpoints" / "names.json"
    names.parent.mkdir()
    names.write_text(json.dumps({"last": "000012-00003456", "sha256": {}}))
    config = small_run(dataset, tmp_path)
    assert opening_lines(config, dataset)[0] == f"run      {tmp_path}: goes on after round 12 and step 3,456"


def test_what_does_not_fit_the_dataset_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    config = small_run(dataset, tmp_path / "run")
    wrong = dataclasses.replace(config, run=dataclasses.replace(config.run, workers=3))
    with pytest.raises(UserError, match=r"run\.workers is 3"):
        open_run(wrong)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=r"--from\) is .*missing, which is no directory"):
        open_run(small_run(dataset, tmp_path / "run", start_from=str(tmp_path / "missing")))
    assert not (tmp_path / "run").exists()


def test_it_needs_neither_torch_nor_ray() -> None:
    code = "import sys; import distributed_il.runtime.opening; print(sorted({'torch', 'ray'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
