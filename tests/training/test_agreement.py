"""Ranks that are about to do different things end loudly, all of them; ranks are threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_datasets import make_small_dataset
from thread_ranks import ThreadCollectives, run_on_threads

from distributed_il.core.collectives import Collectives
from distributed_il.core.config import DataConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.training.consistency import check_agreement
from distributed_il.training.trainer import Trainer

CPU = torch.device("cpu")
FACTS: dict[str, int | str] = {"dataset": "c0ffee", "round": 3, "number of steps": 2**40}


def outcomes(facts_of_rank: list[dict[str, int | str]]) -> list[str]:
    def outcome(ranks: ThreadCollectives) -> str:
        try:
            check_agreement(ranks, facts_of_rank[ranks.rank], CPU)
        except (RuntimeError, UserError) as error:
            return f"{type(error).__name__}: {error}"
        return "agreed"

    return run_on_threads(len(facts_of_rank), outcome)


def test_ranks_that_agree_go_on() -> None:
    assert outcomes([FACTS] * 3) == ["agreed"] * 3


@pytest.mark.parametrize("name", ["round", "number of steps"])
def test_another_number_is_told_on_every_rank(name: str) -> None:
    theirs = FACTS | {name: 7}
    found = outcomes([FACTS, FACTS, theirs])
    assert (
        found
        == [f"RuntimeError: ranks do not agree on the {name}: rank 0 {FACTS[name]}, rank 1 {FACTS[name]}, rank 2 7"] * 3
    )


def test_another_fingerprint_is_told_on_every_rank_with_its_cure() -> None:
    for message in outcomes([FACTS, FACTS | {"dataset": "c0ffed"}]):
        assert message.startswith("UserError: ranks [1] have another dataset than rank 0")
        assert "storage that they share" in message


def trainer(dataset: Dataset, run_dir: Path, ranks: Collectives, **run: Any) -> Trainer:
    return Trainer(
        TrainConfig(
            data=DataConfig(path="data"),
            run=RunConfig(dir=str(run_dir), batch_size=50, workers=2, max_rounds=2, **run),
            method=NoneConfig(),
        ),
        dataset,
        reader=LocalBlockReader(dataset),
        collectives=ranks,
        device=CPU,
    )


@pytest.mark.parametrize("differs", ["dataset", "configuration", "round", "optimiser step", "number of steps"])
def test_a_trainer_asks_before_it_takes_a_step(differs: str, tmp_path: Path) -> None:
    datasets = [make_small_dataset(tmp_path / f"{number}", train=600, seed=number) for number in range(2)]
    larger = make_small_dataset(tmp_path / "larger", train=1_000)

    def outcome(ranks: ThreadCollectives) -> str:
        odd = ranks.rank == 1
        dataset = datasets[1] if differs == "dataset" and odd else datasets[0]
        seed = 5 if differs == "configuration" and odd else 0
        mine = trainer(dataset, tmp_path / "run", ranks, seed=seed)
        if odd and differs == "round":
            mine.state.round = 1
        if odd and differs == "optimiser step":
            mine.learner.step = 1
        if odd and differs == "number of steps":
            mine.rows._dataset = larger
        try:
            mine.fit()
        except (RuntimeError, UserError) as error:
            assert mine.state.step == 0
            return str(error)
        return "trained"

    assert all(differs in message for message in run_on_threads(2, outcome))
