"""Positives alone: what `auto` means there, what is refused, and that a model learns from sampled negatives."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from local_runs import local_trainer
from numpy.typing import NDArray
from small_datasets import random_rows, write_dataset

from distributed_il.core.config import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
    UnlabelledConfig,
)
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import (
    InverseDualConfig,
    InverseGradientConfig,
    MethodConfig,
    NegativeSamplingConfig,
    NoneConfig,
    ReweightedConfig,
    TruncatedConfig,
    method_class,
)
from distributed_il.data.dataset import Dataset
from distributed_il.data.loading.batch import Batch, Phase
from distributed_il.methods.steps.decision import StepReport
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.training.feedback import about_feedback, check_feedback, default_method, resolve_feedback
from distributed_il.training.pair_sampler import pair_sampler

USERS, ITEMS = 40, 30


def write(path: Path, label: int | None) -> Dataset:
    """Positives where user and item have the same parity, or rows of one label throughout, or of both."""
    rows = random_rows(np.random.default_rng(0), USERS, ITEMS, {"train": 900, "valid": 120, "test": 120})
    for columns in rows.values():
        if label == 1:
            alike = (columns["user_id"] + columns["item_id"]) % 2 == 0
            for name, values in columns.items():
                columns[name] = values[alike]
        if label is not None:
            columns["label"][:] = label
    return write_dataset(path / f"label {label}", rows, num_users=USERS, num_items=ITEMS)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[int | None, Dataset]:
    return {label: write(tmp_path_factory.mktemp("feedback"), label) for label in (0, 1, None)}


def config_of(dataset: Dataset, method: MethodConfig, path: Path | str = "run", **run: Any) -> TrainConfig:
    return TrainConfig(data=DataConfig(path=dataset.path), run=RunConfig(dir=str(path), **run), method=method)


@pytest.mark.parametrize("method", [NoneConfig(), TruncatedConfig(), ReweightedConfig()])
def test_negatives_are_sampled_where_there_are_none(
    datasets: dict[int | None, Dataset], method: NoneConfig | TruncatedConfig | ReweightedConfig
) -> None:
    for label, negatives in ((1, "sampled"), (None, "labelled")):
        config = resolve_feedback(config_of(datasets[label], method), datasets[label])
        assert config.method == dataclasses.replace(method, negatives=negatives)
        check_feedback(config, datasets[label])
        told = about_feedback(config, datasets[label])
        assert told is None if label is None else f"positives only: method {method.name} with sampled" in str(told)
    asked = config_of(datasets[None], dataclasses.replace(method, negatives="sampled"))
    assert resolve_feedback(asked, datasets[None]).method == asked.method


def test_a_method_that_nobody_named_fits_the_feedback(datasets: dict[int | None, Dataset]) -> None:
    for label, method in ((1, NoneConfig()), (None, InverseGradientConfig())):
        assert default_method(config_of(datasets[label], InverseGradientConfig())).method == method
    nowhere = TrainConfig(data=DataConfig(path="nowhere"), run=RunConfig(dir="run"))
    assert default_method(nowhere) == nowhere


@pytest.mark.parametrize(
    ("label", "method", "message"),
    [
        (1, InverseGradientConfig(), r"method\.name ig needs clear negatives, but all \d+ .* positives; set method\.n"),
        (1, InverseDualConfig(), r"method\.name idl needs clear negatives"),
        (1, NoneConfig(negatives="labelled"), r"method\.negatives is labelled, .* set method\.negatives to sampled"),
        (1, NegativeSamplingConfig(target=1.0), r"method\.target is 1, .* give a target below 1"),
        (0, NoneConfig(), "all 900 training rows are negatives"),
        (0, NegativeSamplingConfig(), "all 900 training rows are negatives"),
    ],
)
def test_one_class_is_never_learned_from_in_silence(
    datasets: dict[int | None, Dataset], label: int, method: MethodConfig, message: str
) -> None:
    config = resolve_feedback(config_of(datasets[label], method), datasets[label])
    with pytest.raises(UserError, match=message):
        check_feedback(config, datasets[label])
    check_feedback(config_of(datasets[None], method), datasets[None])


def test_where_all_are_positives_the_labels_0_are_told_and_rounds_are_ranked(
    datasets: dict[int | None, Dataset],
) -> None:
    method = TruncatedConfig(negatives="sampled_all_positive")
    told = {None: r"all 900 training rows are taken for positives, \d+ labelled 0 among them", 1: ".*positives only"}
    for label, found in told.items():
        config = resolve_feedback(config_of(datasets[label], method), datasets[label])
        check_feedback(config, datasets[label])
        assert (config.method, config.run.select_by) == (method, "ndcg@20")
        about = f"{found}: method t_ce with sampled negatives, the best round by ndcg@20"
        assert re.fullmatch(about, str(about_feedback(config, datasets[label])))


def test_where_all_are_positives_no_interaction_is_a_negative(tmp_path: Path) -> None:
    """Of five items user 0 has rows of items 0 and 4 and a logged pair of item 2, which `sampled` would draw."""
    users, items, labels = np.zeros(2, np.int32), np.array([0, 4], np.int32), np.array([1, 0], np.int8)
    train: dict[str, NDArray[Any]] = {"user_id": users, "item_id": items, "label": labels}
    unclear: dict[str, NDArray[Any]] = {"user_id": users[:1], "item_id": np.array([2], np.int32)}
    rows = {"train": train, "valid": train, "test": train, "unclear": unclear}
    dataset = write_dataset(tmp_path / "logged", rows, num_users=1, num_items=5)
    for method, drawn in (
        (NoneConfig(negatives="sampled_all_positive"), {1, 3}),
        (NoneConfig(negatives="sampled"), {1, 2, 3}),
    ):
        config = config_of(dataset, method)
        pairs = pair_sampler(config, dataset).draw(np.zeros(100, np.int64), np.arange(100), round=0)
        assert set(pairs.item_ids.tolist()) == drawn
        check_feedback(config, dataset)
    config = config_of(dataset, NoneConfig(negatives="sampled_all_positive"))
    config = dataclasses.replace(config, unlabelled=UnlabelledConfig(source="both"))
    with pytest.raises(UserError, match="sampled_all_positive, .* unlabelled.source is both, .*; set it to sampled"):
        check_feedback(config, dataset)


class _Unweighed:
    """A method of the user's."""

    phases = (Phase("train", "all", unlabelled=False),)
    test_share = 0.0

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Config:
        pass

    def __init__(self, config: Config) -> None: ...

    def step(self, executor: StepExecutor, batch: Batch) -> StepReport:
        return executor.plain(batch)


class _Weighed(_Unweighed):
    weighs_rows = True


def test_weights_are_never_left_out_in_silence(tmp_path: Path) -> None:
    rows = random_rows(np.random.default_rng(0), USERS, ITEMS, {"train": 90, "valid": 30, "test": 30})
    rows["train"]["weight"] = np.ones(rows["train"]["label"].size, np.float32)
    dataset = write_dataset(tmp_path / "weighted", rows, num_users=USERS, num_items=ITEMS)
    own = {name: method_class(f"{__name__}:{name}")(name=f"{__name__}:{name}") for name in ("_Weighed", "_Unweighed")}
    for method in (NoneConfig(), InverseGradientConfig(), own["_Weighed"]):
        check_feedback(config_of(dataset, method), dataset)
    with pytest.raises(UserError, match=r"have weights, and method\.name .*:_Unweighed does not say .* `weighs_rows"):
        check_feedback(config_of(dataset, own["_Unweighed"]), dataset)


@pytest.mark.parametrize("method", [NoneConfig(), TruncatedConfig(), ReweightedConfig(), NegativeSamplingConfig()])
def test_a_model_of_positives_alone_tells_likely_items_from_others(
    datasets: dict[int | None, Dataset], tmp_path: Path, method: MethodConfig
) -> None:
    config = dataclasses.replace(
        config_of(datasets[1], method, tmp_path, batch_size=50, max_rounds=5, patience=5),
        model=ModelConfig(embedding_dim=4, factors=0),
        optimizer=OptimizerConfig(learning_rate=0.1),
    )
    trainer = local_trainer(config)
    trainer.fit()
    users, items = (grid.reshape(-1) for grid in np.indices((USERS, ITEMS)))
    logits = trainer.learner.score(torch.from_numpy(users), torch.from_numpy(items)).numpy()
    alike = (users + items) % 2 == 0
    assert logits[alike].mean() > logits[~alike].mean() + 0.5
