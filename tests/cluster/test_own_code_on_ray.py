"""Ray's workers find code of one's own in the current folder, and take nothing else there for a library."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import distributed_il
from distributed_il.data.dataset import Dataset

pytestmark = pytest.mark.cluster
HOME = Path(distributed_il.__file__).parents[1]


def test_own_code_trains_and_scores_where_others_lie(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    dataset = make_dataset(train=240, valid=60, test=60, lanes=2)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("own_backbone.py", "own_method.py"):
        shutil.copy(HOME / "tests" / "examples" / name, folder)
    for name in ("torch", "ray", "numpy", "pyarrow", "yaml", "pandas", "safetensors", "psutil", "tensorboard"):
        (folder / f"{name}.py").write_text(f"from pathlib import Path\nPath({str(tmp_path)!r}, '{name}-ran').touch()\n")

    def command(*argv: str) -> None:
        ended = subprocess.run(
            [sys.executable, "-m", "distributed_il", *argv],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(HOME)},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert ended.returncode == 0, ended.stderr

    own = ["--method.name=own_method:FocalLoss", "--model.backbone=own_backbone:Distance", "--model.factors=0"]
    places = [f"--data.path={dataset.path}", "--run.dir=run"]
    command("train", *own, *places, "--run.batch_size=40", "--run.max_rounds=1", "--run.workers=2")
    command("score", "--run_dir=run", "--split=test", "--output=scores", "--allow_code", "--workers=1")
    assert pq.read_table(folder / "scores").num_rows == 60
    assert not list(tmp_path.glob("*-ran"))
