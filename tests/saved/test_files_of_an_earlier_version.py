"""A dataset and runs written by version 0.1.0 before its modules moved: every later version reads them, to the digit.

`files/` holds a dataset of a small log with unclear rows (4 lanes, text ids), a finished run of method ig on it (GMF,
float64, 3 rounds), the same run stopped two steps into round 3, and one of NeuMF with sharded tables on two workers.
`expected.json` is what that version answered: metrics, recommendations, the stopped run resumed, the log appended to,
and a run that started from the finished one.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from local_runs import local_trainer

from distributed_il.cli.train import read as read_train_config
from distributed_il.data.dataset import Dataset
from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.inference.choice import Choice
from distributed_il.inference.config import EvaluateConfig
from distributed_il.inference.evaluate import evaluate
from distributed_il.inference.model import load_served_model
from distributed_il.inference.recommendations import Recommendations

FILES = Path(__file__).parent / "files"
EXPECTED: dict[str, Any] = json.loads((FILES / "expected.json").read_text())
DATA = str(FILES / "dataset")


def same(found: Any, expected: Any) -> None:
    """Equal, numbers to 1e-9: another machine's libraries may round the last bits otherwise; later keys may be more."""
    assert found.keys() >= expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            same(found[key], value)
        elif isinstance(value, str):
            assert found[key] == value, key
        else:
            assert found[key] == pytest.approx(value, rel=1e-9, nan_ok=True), key


@pytest.mark.parametrize("run", ["run", "run_neumf_sharded"])
@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_a_checkpoint_is_evaluated(run: str, checkpoint: Any) -> None:
    config = EvaluateConfig(run_dir=str(FILES / run), data=DATA, split="test", checkpoint=checkpoint)
    same(evaluate(config)["test"], EXPECTED["evaluate"][run][checkpoint])


@pytest.mark.parametrize("run", ["run", "run_neumf_sharded"])
def test_a_model_recommends(run: str) -> None:
    model, opened = load_served_model(str(FILES / run), "best", DATA)
    dataset, expected = opened.dataset, EXPECTED["recommend"][run]
    logged = dataset.logged()
    assert logged is not None
    users = list(dict.fromkeys(row["user_id"] for row in expected))
    work = Recommendations(
        model=model,
        users=IdLookup("user", dataset.vocabulary("users")),
        items=IdLookup("item", dataset.vocabulary("items")),
        asked=pa.array(users),
        top=5,
        choice=Choice((dataset.observed(), logged)),
        made_from={},
    )
    found = [row for table, _ in work.tables(0) for row in table.to_pylist()]
    for row, wanted in zip(found, expected, strict=True):
        same(row, wanted)


def test_a_stopped_run_resumes_to_the_end_of_the_whole_one(tmp_path: Path) -> None:
    shutil.copytree(FILES / "stopped_in_round", tmp_path / "run")
    result = local_trainer(config(DATA, tmp_path / "run")).run()
    same({name: result[name] for name in EXPECTED["resumed"]}, EXPECTED["resumed"])
    assert EXPECTED["resumed"] == EXPECTED["metrics"]


def test_a_dataset_is_appended_to_and_a_run_starts_from_an_old_model(tmp_path: Path) -> None:
    assert Dataset.open(DATA).fingerprint == EXPECTED["fingerprints"]["dataset"]
    appended = str(tmp_path / "appended")
    columns = {"user_column": "uid", "item_column": "vid", "label_column": "liked"}
    source = str(FILES / "more.csv")
    prepare(PrepareConfig(source=source, output=appended, append_to=DATA, lanes=4, row_group_rows=64, **columns))
    assert Dataset.open(appended).fingerprint == EXPECTED["fingerprints"]["appended"]
    result = local_trainer(config(appended, tmp_path / "run", f"--from={FILES / 'run'}", "--run.max_rounds=2")).run()
    same({name: result[name] for name in EXPECTED["trained_from"]}, EXPECTED["trained_from"])


def config(data: str, run: Path, *flags: str) -> Any:
    """Of the saved runs of GMF, which chose by log loss."""
    before = ["--config", str(FILES / "run.yaml"), "--run.select_by=logloss"]
    return read_train_config([*before, f"--data.path={data}", f"--run.dir={run}", *flags])
