"""Files from strangers run nothing, by whichever door they come in; the command says which column or key it is."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.data  # registers the type whose values are unpickled
from forged_checkpoints import rewrite_manifests
from forged_datasets import fit_manifest
from random_features import random_features
from ray.data._internal.object_extensions.arrow import ArrowPythonObjectType
from saved_runs import save_run

from distributed_il.cli import main
from distributed_il.data.dataset import Dataset

assert ray.data


class _Payload:
    """Unpickling it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Is there once a payload has run."""
    return tmp_path / "it-ran"


@pytest.fixture
def evil(marker: Path) -> Callable[[int], pa.Array]:
    """Makes columns of payloads."""

    def column(rows: int) -> pa.Array:
        stored = pa.array([pickle.dumps(_Payload(marker))] * rows, pa.large_binary())
        return ArrowPythonObjectType().wrap_array(stored)

    return column


def _replace_column(dataset: Dataset, name: str, column: str, evil: Callable[[int], pa.Array]) -> Dataset:
    path = dataset.full_path(name)
    table = pq.read_table(path) if name.endswith(".parquet") else pa.ipc.open_file(path).read_all()
    table = table.set_column(table.column_names.index(column), column, evil(table.num_rows))
    if name.endswith(".parquet"):
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    return fit_manifest(dataset)


def _refused(argv: list[str], message: str, capsys: pytest.CaptureFixture[str], marker: Path) -> None:
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not marker.exists()


def test_the_payload_runs_where_nobody_looks_at_types(evil: Callable[[int], pa.Array], marker: Path) -> None:
    evil(1)[0].as_py()
    assert marker.exists()


@pytest.mark.parametrize(
    ("name", "column", "command"),
    [
        ("test/lane-000-00000.parquet", "user_id", ["evaluate"]),
        ("test/lane-001-00000.parquet", "label", ["evaluate"]),
        ("users.parquet", "train_rows", ["evaluate"]),
        ("items.parquet", "external_id", ["score", "--split=test", "--output=result"]),
        ("observed_items.arrow", "items", ["recommend", "--output=result"]),
        ("logged_indptr.arrow", "indptr", ["recommend", "--output=result"]),
    ],
)
def test_a_dataset_runs_nothing(
    name: str,
    column: str,
    command: list[str],
    make_dataset: Callable[..., Dataset],
    evil: Callable[[int], pa.Array],
    marker: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = make_dataset(lanes=2)
    save_run(dataset, tmp_path / "run")
    forged = _replace_column(dataset, name, column, evil).fingerprint
    # The run is of the forged dataset, which it must not believe.
    rewrite_manifests(tmp_path / "run", lambda manifest: manifest.update(dataset=forged))
    message = f"{name}, column {column}: it is of type extension<ray.data.arrow_pickled_object"
    _refused([command[0], "--run_dir=run", *command[1:]], message, capsys, marker)


@pytest.mark.parametrize(
    ("name", "column"), [("users_features.arrow", "codes"), ("items_feature_values.parquet", "value")]
)
def test_side_features_run_nothing(
    name: str,
    column: str,
    make_dataset: Callable[..., Dataset],
    evil: Callable[[int], pa.Array],
    marker: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dataset = make_dataset(lanes=2, features=random_features(40, 60))
    run = tmp_path / "run"
    save_run(dataset, run, backbone="deepfm")
    _replace_column(dataset, name, column, evil)
    # The run is of the forged dataset, whose features it must not believe.
    rewrite_manifests(run, lambda manifest: manifest.update(dataset=Dataset.open(dataset.path).fingerprint))
    _refused(["evaluate", f"--run_dir={run}"], f"{name}, column {column}: it is of type", capsys, marker)


@pytest.mark.parametrize(("command", "option"), [("score", "pairs"), ("annotate", "pairs"), ("recommend", "users")])
def test_pairs_and_users_run_nothing(
    command: str,
    option: str,
    evil: Callable[[int], pa.Array],
    marker: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "given.parquet"
    pq.write_table(pa.table({"user_id": evil(2), "item_id": [1, 2]}), path)
    argv = [command, "--run_dir=run", f"--output={tmp_path / 'result'}", f"--{option}={path}"]
    _refused(argv, f"{path}, column user_id: it is of type extension<ray.data", capsys, marker)


@pytest.mark.parametrize("column", ["user", "label", "time", "city"])
def test_a_raw_log_and_a_file_of_features_run_nothing(
    column: str,
    evil: Callable[[int], pa.Array],
    marker: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = 60
    log: dict[str, Any] = {"user": list(range(rows)), "item": list(range(rows))}
    log |= {"label": [0, 1] * (rows // 2), "time": list(range(rows))}
    features: dict[str, Any] = {"user": list(range(rows)), "city": ["a"] * rows}
    (log if column in log else features)[column] = evil(rows)
    pq.write_table(pa.table(log), tmp_path / "log.parquet")
    pq.write_table(pa.table(features), tmp_path / "features.parquet")
    argv = ["prepare", f"--source={tmp_path}/log.parquet", f"--output={tmp_path}/data", "--split=time"]
    argv += ["--user_column=user", "--item_column=item", "--time_column=time"]
    argv += [f"--user_features={tmp_path}/features.parquet", "--user_feature_columns=[city]"]
    _refused(argv, f"column {column}: it is of type extension<ray.data", capsys, marker)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("part", ["tower", "state", "users-00000"])
def test_a_checkpoint_runs_nothing(
    part: str, tiny_dataset: Dataset, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    save_run(tiny_dataset, run)
    (path,) = run.glob(f"checkpoints/*/{part}.safetensors")
    path.write_bytes(pickle.dumps(_Payload(marker)).ljust(path.stat().st_size, b"\0"))

    def change(manifest: dict[str, Any]) -> None:
        manifest["files"][part] = path.stat().st_size
        for one in manifest["parts"]:
            if one["file"] == part:
                one["bytes"] = path.stat().st_size

    rewrite_manifests(run, change)
    _refused(["evaluate", f"--run_dir={run}"], f"{part}.safetensors", capsys, marker)


def test_a_configuration_runs_nothing(marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{marker}']]"
    config = tmp_path / "job.yaml"
    config.write_text(f"data: {{path: {value}}}\n")
    _refused(["train", f"--config={config}"], "job.yaml is not YAML", capsys, marker)
    config.write_text("data: {path: data}\nrun: {dir: run}\n")
    space = tmp_path / "space.yaml"
    space.write_text(f"optimizer.learning_rate: {value}\n")
    argv = ["sweep", f"--config={config}", f"--sweep.space={space}", f"--model.backbone={value}"]
    assert main(argv) == 2
    assert not marker.exists()
