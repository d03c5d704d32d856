"""A model in a Python program: external ids in and out, for tables of several libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from saved_runs import save_run

import distributed_il as dil
from distributed_il.core.documents import signed
from distributed_il.data.dataset import Dataset
from distributed_il.inference import similar
from distributed_il.inference.similar import most_similar
from distributed_il.models.learner import Learner

USERS = [f"u{number}" for number in range(12)]


@pytest.fixture
def frame() -> pd.DataFrame:
    """Feedback under text ids, a third of it unclear."""
    rng = np.random.default_rng(0)
    rows = [(user, f"item {item}") for user in USERS for item in rng.choice(30, 15, replace=False)]
    labels = rng.choice([0.0, 1.0, np.nan], len(rows))
    return pd.DataFrame({"user_id": [u for u, _ in rows], "item_id": [i for _, i in rows], "label": labels})


@pytest.fixture
def prepared(frame: pd.DataFrame, tmp_path: Path) -> tuple[Dataset, Path, Learner]:
    """The dataset of the frame, and a run on it."""
    dataset = dil.prepare(frame, output=str(tmp_path / "data"), lanes=2)
    return dataset, tmp_path / "run", save_run(dataset, tmp_path / "run", backbone="bias_mf")


def test_a_frame_becomes_a_dataset(frame: pd.DataFrame, prepared: Any) -> None:
    dataset = prepared[0]
    assert set(dataset.vocabulary("users").to_pylist()) == set(USERS)
    known = sum(dataset.rows(split) for split in ("train", "valid", "test"))
    assert known == frame.label.notna().sum()
    assert dataset.rows("unclear") == frame.label.isna().sum()
    assert dataset.manifest.name == "data"
    assert Path(dataset.path, "summary.html").exists()


def test_scores_are_those_of_the_model_row_by_row(prepared: Any) -> None:
    dataset, run, learner = prepared
    users, items = ["u3", "u1", "nobody", "u3"], ["item 2", "item 5", "item 2", "no item"]
    pairs = pd.DataFrame({"user_id": users, "item_id": items})
    model = dil.load(str(run))
    scored = model.score(pairs)
    assert isinstance(scored, pd.DataFrame)
    assert list(scored.columns) == ["user_id", "item_id", "score", "answered_by"]
    assert scored[["user_id", "item_id"]].equals(pairs)
    known = [dataset.vocabulary(kind).to_pylist() for kind in ("users", "items")]
    rows = [torch.tensor([ids.index(one) for one in own[:2]]) for ids, own in zip(known, (users, items), strict=True)]
    expected = torch.sigmoid(learner.score(*rows)).numpy()
    np.testing.assert_allclose(scored.score[:2], expected, rtol=1e-5)
    assert scored.answered_by[2:].isin(["item_mean", "overall_mean"]).all()
    arrow = model.score(pa.Table.from_pandas(pairs))
    assert isinstance(arrow, pa.Table)
    assert arrow.column("score").to_pylist() == scored.score.tolist()
    renamed = model.score({"visitor": ["u3"], "clip": ["item 2"]}, user_column="visitor", item_column="clip")
    assert renamed.column("score")[0].as_py() == scored.score[0]
    assert model.score(pairs[:0]).empty


def test_the_best_items_are_the_best_of_all_scores(prepared: Any) -> None:
    dataset, run, _ = prepared
    model = dil.load(str(run))
    items = dataset.vocabulary("items").to_pylist()
    best = model.recommend(["u1", "u7"], k=4)
    assert list(best.columns) == ["user_id", "item_id", "rank", "score"]
    assert best.user_id.tolist() == ["u1"] * 4 + ["u7"] * 4
    assert best["rank"].tolist() == [1, 2, 3, 4] * 2
    kept = model.recommend(["u1"], k=len(items), seen="keep", cold="prior")
    every = model.score(pd.DataFrame({"user_id": "u1", "item_id": items}))
    expected = every.sort_values("score", ascending=False, kind="stable")
    np.testing.assert_allclose(kept.score, expected.score, rtol=1e-6)
    user = dataset.vocabulary("users").to_pylist().index("u1")
    indexes = (dataset.observed(), dataset.logged())
    seen = np.concatenate([index.items[index.indptr[user] : index.indptr[user + 1]] for index in indexes])
    names = {items[row] for row in seen}
    assert names
    rest = model.recommend(["u1"], k=len(items), cold="prior")
    assert rest.item_id.tolist() == [item for item in kept.item_id if item not in names]
    assert model.recommend(pa.array(["u1"]), k=1).column("item_id")[0].as_py() == best.item_id[0]
    some = [*rest.item_id[3:6], "no item"]
    assert model.recommend(["u1"], k=9, candidates=some, cold="prior").item_id.tolist() == some[:3]
    assert model.recommend([]).columns.tolist() == best.columns.tolist()


def test_similar_items_are_those_of_highest_cosine(prepared: Any) -> None:
    dataset, run, learner = prepared
    model = dil.load(str(run))
    ids, rows = model.embeddings("items")
    np.testing.assert_allclose(rows, learner.items.weight.numpy(), rtol=1e-6)
    found = model.similar(["item 4"], k=3)
    assert list(found.columns) == ["item_id", "rank", "similar_item_id", "cosine"]
    names = ids.to_pylist()
    own = rows[names.index("item 4")]
    cosines = rows @ own / np.linalg.norm(rows, axis=1) / np.linalg.norm(own)
    known = dataset.activity().item_rows > 0
    cosines[~known] = -np.inf  # what the model has not learned is like nothing
    order = [names[k] for k in np.argsort(-cosines) if names[k] != "item 4"][:3]
    assert found.similar_item_id.tolist() == order
    np.testing.assert_allclose(found.cosine, sorted(cosines)[::-1][1:4], rtol=1e-5)


def test_cosines_by_hand() -> None:
    table = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 0.0], [-1.0, 0.0]])
    known = np.ones(5, np.bool_)
    numbers, cosines = most_similar(table, known, np.array([0, 2]), top=9)
    assert numbers.tolist() == [[1, 2, 3, 4], [0, 1, 3, 4]]  # of equal ones the lower number first
    assert cosines.tolist() == [[1.0, 0.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0]]
    known[1] = False
    numbers, cosines = most_similar(table, known, np.array([0, 1, -1]), top=2)
    assert numbers[0].tolist() == [2, 3]
    assert cosines.tolist() == [[0.0, 0.0], [-np.inf] * 2, [-np.inf] * 2]


def test_fewer_known_ones_than_wanted_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of rows found lists of their own lengths, which did not fit together."""
    monkeypatch.setattr(similar, "USERS_AT_ONCE", 2)
    table, known = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 0.0]]), np.array([True, False, False, True])
    numbers, cosines = most_similar(table, known, np.array([1, 2, 0, 3]), top=3)
    assert cosines.tolist() == [[-np.inf] * 3] * 2 + [[1.0, -np.inf, -np.inf]] * 2
    assert numbers[2:, 0].tolist() == [3, 0]


def test_blocks_of_any_size_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(0).integers(-2, 3, (40, 3)).astype(np.float64)
    asked, known = np.arange(40), np.ones(40, np.bool_)
    cosines = most_similar(table, known, asked, top=7)[1]
    monkeypatch.setattr(similar, "ITEMS_AT_ONCE", 6)
    monkeypatch.setattr(similar, "USERS_AT_ONCE", 9)
    found = most_similar(table, known, asked, top=7)
    np.testing.assert_allclose(found[1], cosines, atol=1e-12)
    lengths = np.maximum(np.linalg.norm(table, axis=1), 1e-300)
    products = np.einsum("qd,qkd->qk", table, table[found[0].numpy()])
    np.testing.assert_allclose(products / lengths[:, None] / lengths[found[0].numpy()], cosines, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda model: model.score(pd.DataFrame({"user": ["u1"]})), "no column 'user_id'; it has user"),
        (lambda model: model.score([1, 2]), "list is no table; give a pandas or Polars DataFrame"),
        (
            lambda model: model.score({"user_id": ["u1", None], "item_id": ["a", "b"]}),
            "user_id, row 1: None is no user",
        ),
        (lambda model: model.recommend(["u1"], k=0), "k is 0; it must be a whole number, at least 1"),
        (lambda model: model.recommend(["u1", 3]), "ids must be all text or all whole numbers"),
        (lambda model: model.recommend("u1"), "'u1' is one id; give a list of ids, ['u1']"),
        (lambda model: model.similar(7), "7 is one id; give a list"),
        (lambda model: model.similar(pd.DataFrame({"item_id": ["item 2"]})), "a table is given for ids"),
        (lambda model: model.similar(["item 2"], k=2.5), "k is 2.5; it must be a whole number"),
        (lambda model: model.recommend(["u1"], seen="Keep"), "seen is 'Keep'; it must be 'leave_out' or 'keep'"),
        (lambda model: model.recommend(["u1"], cold="first"), "cold is 'first'; it must be 'leave_out' or"),
        (lambda model: model.similar(["u1"], entity="user"), "entity is 'user'; it must be"),
        (lambda model: model.embeddings("user"), "entity is 'user'; it must be"),
        (lambda _: dil.evaluate("run", split=cast("Any", "tset")), "split is 'tset'; it must be 'valid' or 'test'"),
        (lambda _: dil.evaluate("run", spli="test"), "spli is unknown; there are allow_code, checkpoint, data"),
        (lambda model: model.recommend(["u1"], candidates="item 2"), "'item 2' is one id"),
        (lambda model: model.similar(["item x"]), "item 'item x' is none of the dataset's"),
    ],
)
def test_what_cannot_be_answered_is_said(call: Any, words: str, prepared: Any) -> None:
    model = dil.load(str(prepared[1]))
    with pytest.raises(dil.UserError) as caught:
        call(model)
    assert words in str(caught.value)


def test_a_run_is_measured_again(prepared: Any) -> None:
    measured = dil.evaluate(str(prepared[1]), split="valid")
    assert 0 <= measured["valid"]["auc"] <= 1
    model = dil.load(str(prepared[1]))
    assert (model.metrics, model.history) == ({}, [])  # this run has a checkpoint and was never finished


def test_metrics_that_are_not_what_was_written_are_refused(prepared: Any) -> None:
    found = {"valid": {"auc": 0.5}, "test": {}, "trivial": {}, "run": {"throughput": {"rows_per_s": 1.0}}}
    place = prepared[1] / "metrics.json"
    place.write_text(json.dumps(signed({**found, "history": [{"round": 1}]})))
    model = dil.load(str(prepared[1]))
    assert (model.metrics, model.history) == (found, [{"round": 1}])
    for text, words in ((place.read_text().replace("0.5", "0.9"), "is not what was written"), ("{", "is not JSON")):
        place.write_text(text)
        with pytest.raises(dil.UserError, match=words):
            dil.load(str(prepared[1]))
