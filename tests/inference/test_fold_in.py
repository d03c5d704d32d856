"""Users folded in from their histories: against a loop over users, and alike however they are grouped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from local_runs import local_trainer
from random_features import ITEM_WIDTHS, USER_VALUES, random_features
from small_datasets import make_small_dataset

from distributed_il.core.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainConfig
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import Dataset
from distributed_il.data.exposure import ExposureFactors, Neighbours
from distributed_il.data.features import Features
from distributed_il.data.prepare.build.exposure_factors import add_factors
from distributed_il.evaluation.fallbacks import KnownIds, Priors
from distributed_il.inference import fold_in
from distributed_il.inference.fold_in import LabelledItems, UserFactors, UserFoldIn, load_fold_in
from distributed_il.inference.linear_fold_in import groups_of_like_length
from distributed_il.inference.model import ServedModel
from distributed_il.models.backbones import load_backbone
from distributed_il.models.embedding.factored import RowFactors

USERS, ITEMS, COLUMNS = 7, 30, 3
Train = Callable[[int], tuple[Dataset, str]]
OPTIMIZER = OptimizerConfig(learning_rate=0.05, weight_decay=0.01)


def served(backbone: str, dtype: str = "float64") -> ServedModel:
    """A model of random rows; it has side features where the tower takes them."""
    features: Features | None = random_features(USERS, ITEMS) if backbone == "deepfm" else None
    config = ModelConfig(backbone=backbone, embedding_dim=4, dtype=dtype)  # pyright: ignore[reportArgumentType]
    tower, rng = load_backbone(config, seed=3, features=features), np.random.default_rng(1)
    return ServedModel(
        backbone=tower.eval().requires_grad_(False),
        users=np.zeros((0, tower.user_dim), dtype),
        items=rng.normal(0, 0.5, (ITEMS, tower.item_dim)).astype(dtype),
        known=KnownIds(np.zeros(0, np.bool_), np.ones(ITEMS, np.bool_)),
        priors=Priors(np.zeros(ITEMS), 0.0),
        codes=() if features is None else (features.users.numpy(), features.items.numpy()),
    )


def user_factors(width: int, dtype: torch.dtype = torch.float64) -> UserFactors:
    """Random factors, of which some are clipped; items 0 and 1 have no vector."""
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(ITEMS, COLUMNS)).astype(np.float32)
    vectors[:2] = 0
    ones = np.ones(COLUMNS)
    basis = ExposureFactors(
        item_vectors=vectors,
        singular_values=ones,
        item_centre=ones / 10,
        user_centre=ones / 10,
        tau_users=2.0,
        tau_items=2.0,
        user_scales=ones,
        item_scales=ones,
        energy=1.0,
        null_edge=0.0,
    )
    scaling = RowFactors(torch.empty(0), torch.tensor([0.05, 0.5, 1.0], dtype=dtype), clip=4.0, scale=0.1)
    return UserFactors(basis.user_folder(), scaling, torch.from_numpy(rng.normal(size=(COLUMNS, width))).to(dtype))


def index(lists: list[list[int]]) -> Neighbours:
    """An index of the lists of users."""
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)
    return Neighbours(offsets, np.array([item for one in lists for item in one], dtype=np.int32))


def histories(seed: int = 0) -> tuple[Neighbours, LabelledItems]:
    """Unclear items of users, and labelled ones; user 2 has nothing, user 4 no label, user 5 one label."""
    rng = np.random.default_rng(seed)
    sizes = {"unclear": (3, 0, 0, 5, 4, 2, 9), "labelled": (8, 3, 0, 15, 0, 1, 20)}
    lists = {name: [rng.permutation(ITEMS)[:size].tolist() for size in given] for name, given in sizes.items()}
    labelled = index(lists["labelled"])
    return index(lists["unclear"]), LabelledItems(labelled, rng.integers(0, 2, labelled.ids.size).astype(np.int8))


@pytest.mark.parametrize(
    ("backbone", "with_factors", "half_width"),
    [
        ("bias_mf", True, None),
        ("bias_mf", True, 0.5),
        ("gmf", False, None),
        ("neumf", True, None),
        ("deepfm", True, None),
        ("deepfm", False, 0.5),
        ("backbones:DotProduct", True, None),
    ],
)
def test_rows_are_those_of_a_loop_over_users(backbone: str, with_factors: bool, half_width: float | None) -> None:
    model, (unclear, labelled) = served(backbone), histories()
    width = model.backbone.user_dim
    factors = user_factors(width) if with_factors else None
    rows = UserFoldIn(model, OPTIMIZER, factors, half_width).rows([labelled.items, unclear], labelled, steps=5)
    assert rows.shape == (USERS, width)
    for user in range(USERS):
        fixed = torch.zeros(width, dtype=torch.float64)
        items = [one.ids[one.offsets[user] : one.offsets[user + 1]] for one in (labelled.items, unclear)]
        if factors is not None:
            history = np.concatenate(items)
            history = history[history >= 2]  # the others have no vector
            basis = user_factors(width)
            raw = basis.folder.fold_one(history.astype(np.int64))
            z = np.clip(raw.astype(np.float64) / [0.05, 0.5, 1.0], -4, 4) * 0.1
            fixed = torch.from_numpy(z) @ basis.weights
        own = torch.zeros(width, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([own], lr=0.05, weight_decay=0.01)
        labels = labelled.labels[labelled.items.offsets[user] : labelled.items.offsets[user + 1]]
        for _ in range(5 if labels.size else 0):
            losses: list[torch.Tensor] = []
            for item, label in zip(items[0].tolist(), labels.tolist(), strict=True):
                codes: list[torch.Tensor] = []
                if model.codes:
                    codes = [torch.zeros((1, len(USER_VALUES)), dtype=torch.uint8)]
                    codes += [torch.from_numpy(model.codes[1][[item]].copy()).view(1, sum(ITEM_WIDTHS))]
                logit = model.backbone((own + fixed)[None], torch.from_numpy(model.items[[item]]), *codes)
                margin = logit - (half_width or 0) if label else -logit - (half_width or 0)
                losses.append((1 + (-margin).exp()).log())  # softplus(t − x) for label 1, softplus(t + x) for 0
            adam.zero_grad()
            torch.stack(losses).mean().backward()
            adam.step()
        tolerance = 1e-6 if with_factors else 1e-11  # factors are float32, summed in another order
        torch.testing.assert_close(rows[user], (own + fixed).detach(), rtol=tolerance, atol=tolerance)
    assert (rows[2] == 0).all()


@pytest.mark.parametrize("backbone", ["bias_mf", "gmf", "neumf"])
def test_users_do_not_depend_on_their_neighbours(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = served(backbone, "float32")
    folding = UserFoldIn(model, OPTIMIZER, user_factors(model.backbone.user_dim, torch.float32))
    unclear, labelled = histories()
    together = folding.rows([labelled.items, unclear], labelled, steps=5)
    monkeypatch.setattr(fold_in, "PAIRS_AT_ONCE", 12)
    # Users 0 to 2, 3, 4 and 5, and 6, whose 20 pairs are more than that.
    apart = folding.rows([labelled.items, unclear], labelled, steps=5)
    if backbone == "neumf":  # a matrix product rounds by its number of rows
        torch.testing.assert_close(apart, together, rtol=1e-4, atol=1e-6)
    else:
        assert torch.equal(apart, together)


@pytest.mark.parametrize(("backbone", "half_width"), [("bias_mf", None), ("gmf", 0.5)])
def test_users_of_all_lengths_are_solved_alike_by_both_ways(
    backbone: str, half_width: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rng = served(backbone, "float32"), np.random.default_rng(5)
    labelled = index([rng.integers(0, ITEMS, size).tolist() for size in (1, 32, 33, 0, 150, 31, 700, 40, 90)])
    history = LabelledItems(labelled, rng.integers(0, 2, labelled.ids.size).astype(np.int8))
    folding = UserFoldIn(model, OPTIMIZER, None, half_width)
    found = folding.rows([labelled], history)
    for user in range(labelled.rows):
        own = slice(*labelled.offsets[user : user + 2])
        alone = LabelledItems(Neighbours(np.array([0, own.stop - own.start]), labelled.ids[own]), history.labels[own])
        assert torch.equal(folding.rows([alone.items], alone)[0], found[user])  # to the bit
    monkeypatch.setattr(type(model.backbone), "linear_in_users", False)
    torch.testing.assert_close(found, folding.rows([labelled], history), rtol=1e-4, atol=1e-5)


def test_groups_have_every_user_with_entries_once_and_little_padding() -> None:
    counts = np.array([0, 3, 40, 64, 65, 1000, 100, 0, 3])
    offsets = np.append(0, np.cumsum(counts))
    seen: list[int] = []
    for users, entries, own in groups_of_like_length(offsets, 128):
        assert users.size == 2 or entries.size <= 128
        assert np.array_equal(own, counts[users])
        for user, row, count in zip(users, entries, own, strict=True):
            assert row[:count].tolist() == list(range(offsets[user], offsets[user + 1]))
            assert (row[count:] == offsets[user]).all()
            assert row.size <= max(1.25 * count, count + 31)
        seen += np.unique(users).tolist()
    assert sorted(seen) == np.flatnonzero(counts).tolist()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """A dataset with factors of three columns, and a run of a round with so many of them."""
    place = tmp_path_factory.mktemp("fold_in")
    dataset = make_small_dataset(place / "data", train=1200)
    add_factors(dataset, place, columns=3)

    def train(factors: int) -> tuple[Dataset, str]:
        config = TrainConfig(
            data=DataConfig(path=dataset.path),
            run=RunConfig(dir=str(place / f"run{factors}"), batch_size=100, max_rounds=1),
            model=ModelConfig(backbone="bias_mf", embedding_dim=4, factors=factors),
            optimizer=OptimizerConfig(learning_rate=0.03),
            method=NoneConfig(),
        )
        local_trainer(config).run()
        return dataset, config.run.dir

    return train


@pytest.mark.parametrize("columns", [3, 2])
def test_a_known_user_is_folded_in_to_its_own_factors(columns: int, trained: Train) -> None:
    dataset, run_dir = trained(columns)
    folding = load_fold_in(run_dir, "best", None)
    observed, logged = dataset.observed(), dataset.logged()
    assert logged is not None
    watched = [Neighbours(one.indptr.astype(np.int64), one.items.astype(np.int32)) for one in (observed, logged)]
    rows, stored = folding.rows(watched), dataset.factors()
    assert stored is not None
    assert folding.factors is not None
    assert np.array_equal(folding.factors.folder.fold(watched), stored.z_users)
    z = np.clip(stored.z_users[:, :columns] / stored.user_scales[:columns].astype(np.float32), -4, 4) * np.float32(0.1)
    torch.testing.assert_close(rows, torch.from_numpy(z) @ folding.factors.weights, rtol=1e-5, atol=1e-7)
    assert rows.any()


def test_without_factors_rows_come_from_labels_alone(trained: Train) -> None:
    _, run_dir = trained(0)
    folding = load_fold_in(run_dir, "best", None)
    assert folding.factors is None
    unclear, labelled = histories()
    assert not folding.rows([unclear]).any()
    rows = folding.rows([unclear], labelled)
    assert rows.any(dim=1).tolist() == [True, True, False, True, False, True, True]
    assert folding.optimizer.learning_rate == 0.03


def test_what_does_not_fit_is_refused() -> None:
    folding = UserFoldIn(served("gmf"), OPTIMIZER, None)
    unclear, labelled = histories()
    with pytest.raises(ValueError, match=r"labels \(2,\) do not fit items"):
        LabelledItems(labelled.items, labelled.labels[:2])
    with pytest.raises(ValueError, match="labels are of 7 users, histories of 1"):
        folding.rows([index([[1]])], labelled)
    few = dataclasses.replace(folding.model, items=folding.model.items[:5])
    with pytest.raises(ValueError, match=r"labelled items must be in \[0, 5\)"):
        dataclasses.replace(folding, model=few).rows([unclear], labelled)
