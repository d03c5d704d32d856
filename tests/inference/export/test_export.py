"""An exported model gives the checkpoint's scores, to a program that has NumPy alone too."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from random_features import random_features
from saved_runs import save_run

from distributed_il.cli import main
from distributed_il.core.config import ModelConfig
from distributed_il.data.dataset import Dataset
from distributed_il.evaluation.affine_calibration import AffineCalibration
from distributed_il.evaluation.baselines import item_mean
from distributed_il.evaluation.output import Output
from distributed_il.inference.export import exporting, numpy_model
from distributed_il.inference.export.pair_model import INPUTS, PairModel, trace
from distributed_il.inference.model import load_served_model
from distributed_il.models.backbones import load_backbone

OUTPUT = Output(0.75, AffineCalibration(0.5, -0.25))
ALONE = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__'); print(*sys.modules)"


def test_every_file_gives_the_scores_of_the_checkpoint(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    """Of the backbone that has most to write: side features are part of it."""
    for name in exporting.ONNX_PACKAGES:
        pytest.importorskip(name)
    from onnxruntime import InferenceSession

    dataset = make_dataset(features=random_features(40, 60))
    save_run(dataset, tmp_path / "run", backbone="deepfm", output=OUTPUT)
    output = tmp_path / "export"
    assert main(["export", f"--run_dir={tmp_path / 'run'}", f"--output={output}"]) == 0
    report = json.loads((output / "export.json").read_text())
    assert set(report["largest_difference"]) == {"model.pt2", "model.onnx", "model.npz with score.py"}
    assert max(report["largest_difference"].values()) < 1e-5
    users, items = pq.read_table(output / "users.parquet"), pq.read_table(output / "items.parquet")
    assert users["external_id"].to_pylist() == list(range(40))
    assert items.column_names == ["external_id", "trained", "mean"]

    pairs = [(3, 59), (0, 0), (1000, 7), (5, 1000)]
    words = [str(word) for pair in pairs for word in pair]
    command = [sys.executable, "-c", ALONE, str(output / "score.py"), *words]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert not {"torch", "pyarrow", "distributed_il"} & set(printed.pop().split())
    model, _ = load_served_model(str(tmp_path / "run"), "best", None)
    assert model.output == OUTPUT
    logits, fallbacks = model.score(np.array([3, 0, -1, 5]), np.array([59, 0, 7, -1]))
    scores = model.probabilities(logits)
    for line, pair, score, fallback in zip(printed, pairs, scores.tolist(), fallbacks, strict=True):
        assert line == "\t".join([*map(str, pair), f"{score:.6f}", numpy_model.FALLBACKS[fallback]])

    inputs = np.array([3, 0]), np.array([59, 0])
    program = torch.export.load(output / "model.pt2").module()
    torch.testing.assert_close(program(*map(torch.from_numpy, inputs))[1], scores[:2], rtol=1e-6, atol=0)
    session = InferenceSession(output / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["scores"], dict(zip(INPUTS, inputs, strict=True)))
    np.testing.assert_allclose(found, scores[:2], rtol=1e-6)
    activity = dataset.activity()
    np.testing.assert_allclose(items["mean"], item_mean(activity.item_rows, activity.item_positives), rtol=1e-12)


def test_side_features_of_items_alone(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    """A program with a tensor without elements, the codes of users, could not be saved."""
    features = random_features(40, 60)
    features = replace(features, users=features.users[:, :0], user_values=(), user_widths=())
    save_run(make_dataset(features=features), tmp_path / "run", backbone="deepfm")
    model, run = load_served_model(str(tmp_path / "run"), "best", None)
    pairs = np.array([3, 0, 39]), np.array([59, 0, 7])
    expected = model.logits(*pairs)
    torch.export.save(trace(PairModel(model)), tmp_path / "model.pt2")
    logits, _ = torch.export.load(tmp_path / "model.pt2").module()(*map(torch.from_numpy, pairs))
    torch.testing.assert_close(logits, expected)
    exporting._write_arrays(tmp_path / "model.npz", model, run)
    np.testing.assert_allclose(numpy_model.NumpyModel(tmp_path / "model.npz").logits(*pairs), expected, rtol=1e-5)


@pytest.mark.parametrize("backbone", numpy_model.BACKBONES)
def test_the_numpy_program_knows_the_built_in_backbones(backbone: str) -> None:
    tower = load_backbone(ModelConfig(backbone=backbone, embedding_dim=3, dtype="float64"), seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        users, items = (torch.randn(9, dim, generator=generator).double() for dim in (tower.user_dim, tower.item_dim))
        arrays = {name: tensor.numpy() for name, tensor in tower.state_dict().items()}
        found = numpy_model.BACKBONES[backbone](arrays, users.numpy(), items.numpy())
        np.testing.assert_allclose(found, tower(users, items).numpy())


def test_what_can_not_be_written_is_left_out(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX without its packages, the NumPy program for a backbone that it does not know."""
    monkeypatch.setattr(exporting, "ONNX_PACKAGES", ("no_such_package",))
    save_run(tiny_dataset, tmp_path / "run", backbone="backbones:DotProduct")
    arguments = ["export", f"--run_dir={tmp_path / 'run'}", f"--output={tmp_path / 'export'}", "--allow_code"]
    assert main(arguments) == 0
    assert "model.onnx was left out" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "export").iterdir()}
    assert names == {"model.pt2", "model.npz", "users.parquet", "items.parquet", "export.json"}
    assert main(arguments) == 2
    assert "is not empty" in capsys.readouterr().err


def test_a_file_that_scores_otherwise_is_not_published(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exporting, "ONNX_PACKAGES", ("no_such_package",))
    monkeypatch.setitem(numpy_model.BACKBONES, "gmf", lambda tower, users, items: users[:, 0])
    save_run(tiny_dataset, tmp_path / "run")
    assert main(["export", f"--run_dir={tmp_path / 'run'}", f"--output={tmp_path / 'export'}"]) == 1
    assert "logits differ from the checkpoint's by more than" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("export")] == []


def test_a_longer_word_is_none_of_the_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was cut to the width of the ids, and u10 answered for by u1."""
    arrays: dict[str, Any] = {
        "backbone": "gmf",
        **{"users": np.ones((2, 1)), "items": np.ones((2, 1))},
        **{"user_ids": np.array(["u1", "u2"]), "item_ids": np.array(["a", "b"])},
        **{"user_trained": np.ones(2, np.bool_), "item_trained": np.ones(2, np.bool_)},
        **{"item_prior": np.zeros(2), "overall_prior": 0.0, "calibration": np.array([1.0, 0.0])},
        **{"tower.predict.weight": np.ones((1, 1)), "tower.predict.bias": np.zeros(1)},
    }
    np.savez(tmp_path / "model.npz", **arrays)
    monkeypatch.setattr(numpy_model, "__file__", str(tmp_path / "score.py"))
    numpy_model.main(["u1", "a", "u10", "a", "u1", "ab"])
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(line[0], line[1], line[3]) for line in lines] == [
        ("u1", "a", "model"),
        ("u10", "a", "item_mean"),
        ("u1", "ab", "overall_mean"),
    ]
