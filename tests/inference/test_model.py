"""The model in use scores as the trained one does, whoever wrote its checkpoint, and says where it can't."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from random_features import random_features
from saved_runs import save_run
from sklearn.metrics import log_loss, roc_auc_score
from small_datasets import random_rows, write_dataset

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.evaluation.affine_calibration import AffineCalibration
from distributed_il.evaluation.baselines import item_mean
from distributed_il.evaluation.fallbacks import FALLBACKS, ITEM_MEAN, MODEL, OVERALL_MEAN
from distributed_il.evaluation.output import Output
from distributed_il.inference import model as served
from distributed_il.inference.choice import Choice
from distributed_il.inference.config import EvaluateConfig
from distributed_il.inference.evaluate import evaluate
from distributed_il.inference.model import load_served_model
from distributed_il.inference.top_k import top_items
from distributed_il.methods.ordinal_loss import clear_logit
from distributed_il.models.embedding.table import EmbeddingTable
from distributed_il.training import checkpoint_shards


@pytest.mark.parametrize("missed_steps", ["skip", "catch_up"])
@pytest.mark.parametrize("backbone", ["gmf", "neumf", "bias_mf", "mlp", "deepfm", "backbones:DotProduct"])
def test_it_scores_as_the_learner_does(
    backbone: str, missed_steps: str, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_shards, "PART_BYTES", 2000)  # several parts
    monkeypatch.setattr(served, "CHUNK_PAIRS", 7)
    learner = save_run(tiny_dataset, tmp_path / "run", backbone=backbone, missed_steps=missed_steps)
    model, _ = load_served_model(str(tmp_path / "run"), "best", None, allow_code=True)
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, tiny_dataset.num_users, 50), rng.integers(0, tiny_dataset.num_items, 50)
    logits, fallback = model.score(users, items)
    torch.testing.assert_close(logits, learner.score(torch.from_numpy(users), torch.from_numpy(items)))
    assert (fallback == MODEL).all()
    assert model.score(users[:0], items[:0])[0].shape == (0,)


def test_side_features_are_served(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    dataset = make_dataset(features=random_features(40, 60))
    learner = save_run(dataset, tmp_path / "run", backbone="deepfm")
    model, _ = load_served_model(str(tmp_path / "run"), "best", None)
    users, items = np.repeat(np.arange(40), 60), np.tile(np.arange(60), 40)
    logits, _ = model.score(users, items)
    torch.testing.assert_close(logits, learner.score(torch.from_numpy(users), torch.from_numpy(items)))
    assert not torch.allclose(
        logits, dataclasses.replace(model, codes=(model.codes[0] * 0, model.codes[1])).logits(users, items)
    )
    best = top_items(model, np.arange(40), top=60)
    torch.testing.assert_close(best.logits, logits.view(40, 60).gather(1, best.item_ids))
    assert model.nbytes > sum(table.nbytes for table in (model.users, model.items, *model.codes))


def test_rows_that_stride_over_parts_find_their_places(tiny_dataset: Dataset, tmp_path: Path) -> None:
    """As two ranks write sharded tables: rank r the rows r, r + 2, …"""
    learner = save_run(tiny_dataset, tmp_path / "run")
    table = learner.users
    parts = []
    for rank in range(2):
        shape = {"std": 1.0, "seed": 0, "dtype": torch.float32, "device": learner.device}
        part = EmbeddingTable(range(rank, 40, 2), table.dim, **shape)
        part.packed, part.last_step = table.packed[rank::2].clone(), table.last_step[rank::2].clone()
        fs = pa.fs.LocalFileSystem()
        parts += checkpoint_shards.write_parts(fs, str(tmp_path), "users", part, rank=rank, world_size=2)
    saved = checkpoint_shards.SavedTable(fs, str(tmp_path), "users", parts)
    weights, asked = torch.empty((40, table.dim)), {"step": learner.step, "optimizer": learner.optimizer}
    checkpoint_shards.read_weights(saved, weights, **asked)
    torch.testing.assert_close(weights, table.weight)
    with pytest.raises(UserError, match="holds 20 of 40 rows of users"):
        checkpoint_shards.read_weights(saved._replace(parts=parts[:1]), weights, **asked)


@pytest.fixture
def sparse(tmp_path: Path) -> Dataset:
    """Users 0 and 1 and items 0 and 1 have training rows, item 0 twice, both positive; user 2 and item 2 have none."""
    train = {"user_id": [0, 1, 1], "item_id": [0, 0, 1], "label": [1, 1, 0]}
    other = {"user_id": [2], "item_id": [2], "label": [1]}
    splits = {
        split: {name: np.array(column, np.int8 if name == "label" else np.int32) for name, column in rows.items()}
        for split, rows in {"train": train, "valid": other, "test": other}.items()
    }
    return write_dataset(tmp_path / "sparse", splits, num_users=3, num_items=3)


def test_means_are_the_fallback_for_ids_without_training_rows(sparse: Dataset, tmp_path: Path) -> None:
    """Overall mean 2/3; item 0: (2 + 10 · 2/3) / (2 + 10) = 13/18; item 1: (0 + 10 · 2/3) / (1 + 10) = 20/33."""
    save_run(sparse, tmp_path / "run", dtype="float64")
    model, _ = load_served_model(str(tmp_path / "run"), "last", None)
    pairs = [(0, 1, MODEL), (2, 0, ITEM_MEAN), (-1, 1, ITEM_MEAN), (0, 2, OVERALL_MEAN), (1, -1, OVERALL_MEAN)]
    users, items, expected = (np.array(column) for column in zip(*pairs, strict=True))
    logits, fallback = model.score(users, items)
    assert fallback.tolist() == expected.tolist()
    means = [13 / 18, 20 / 33, 2 / 3, 2 / 3]
    assert logits[1:].tolist() == pytest.approx([math.log(mean / (1 - mean)) for mean in means])
    assert FALLBACKS == ("model", "item_mean", "overall_mean")


def test_evaluate_measures_what_score_writes(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    rows = random_rows(np.random.default_rng(2), 30, 20, {"train": 150, "valid": 40, "test": 200})
    known = (rows["train"]["user_id"] < 25) & (rows["train"]["item_id"] < 15)
    rows["train"] = {name: column[known] for name, column in rows["train"].items()}
    dataset = write_dataset(tmp_path / "some_known", rows, num_users=30, num_items=20)
    save_run(dataset, tmp_path / "run", dtype="float64")
    found = evaluate(EvaluateConfig(run_dir=str(tmp_path / "run"), checkpoint="last"))
    model, run = load_served_model(str(tmp_path / "run"), "last", None)
    users, items, labels = (rows["test"][name].astype(np.int64) for name in ("user_id", "item_id", "label"))
    logits, fallback = model.score(users, items)
    assert found["served"]["answered_by_prior"] == np.count_nonzero(fallback != MODEL) > 0
    assert found["served"]["auc"] == pytest.approx(roc_auc_score(labels, logits), rel=1e-12)
    assert found["served"]["logloss"] == pytest.approx(log_loss(labels, run.output.probability(logits)), rel=1e-9)
    assert found["test"]["auc"] == pytest.approx(roc_auc_score(labels, model.logits(users, items)), rel=1e-12)

    save_run(make_dataset(), tmp_path / "all_known")
    assert "served" not in evaluate(EvaluateConfig(run_dir=str(tmp_path / "all_known"), checkpoint="last"))


def test_other_data_are_refused(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    save_run(make_dataset("one"), tmp_path / "run")
    other = make_dataset("two", seed=1)
    with pytest.raises(UserError, match="is not the dataset that"):
        load_served_model(str(tmp_path / "run"), "best", other.path)
    with pytest.raises(UserError, match="holds no checkpoint named best"):
        load_served_model(str(tmp_path / "elsewhere"), "best", None)


def test_probabilities_are_calibrated_and_means_stay_means(tiny_dataset: Dataset, tmp_path: Path) -> None:
    """Fallbacks stand among the raw logits where the output makes the mean of them; w1 is by the raw logit."""
    output = Output(0.75, AffineCalibration(0.5, -0.25))
    learner = save_run(tiny_dataset, tmp_path / "run", output=output, dtype="float64")
    save_run(tiny_dataset, tmp_path / "before", dtype="float64")
    model, before = (load_served_model(str(tmp_path / run), "best", None)[0] for run in ("run", "before"))
    users, items = np.array([0, 3, -1, 2]), np.array([1, 0, 1, -1])
    logits, fallback = model.score(users, items)
    raw = learner.score(torch.from_numpy(users[:2]), torch.from_numpy(items[:2]))
    torch.testing.assert_close(logits[:2], raw)
    torch.testing.assert_close(model.probabilities(logits[:2]), torch.sigmoid(0.5 * clear_logit(raw, 0.75) - 0.25))
    activity = tiny_dataset.activity()
    means = (
        item_mean(activity.item_rows, activity.item_positives)[1],
        activity.item_positives.sum() / activity.item_rows.sum(),
    )
    assert fallback.tolist() == [MODEL, MODEL, ITEM_MEAN, OVERALL_MEAN]
    assert model.probabilities(logits[2:]).tolist() == pytest.approx(means, rel=1e-12)
    # A checkpoint without an output serves σ(x), to the bit.
    logits, _ = before.score(users, items)
    assert torch.equal(before.probabilities(logits), torch.sigmoid(logits))

    known = model.known._replace(items=np.arange(len(model.items)) % 3 > 0)
    model = dataclasses.replace(model, known=known)
    best = top_items(model, np.array([0, -1]), top=len(model.items), choice=Choice(cold="prior"))
    assert (model.probabilities(best.logits).diff(dim=1) <= 0).all()
