"""The check of replicas over ranks that are threads; across real processes see methods/test_across_ranks.py."""

from __future__ import annotations

import pytest
import torch
from thread_ranks import ThreadCollectives, run_on_threads

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import ModelConfig, OptimizerConfig
from distributed_il.data.loading.index_plan import IndexPlan
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner
from distributed_il.training.consistency import check_replicas, fingerprint


def make_learner(seed: int = 1, dtype: str = "float32") -> Learner:
    return Learner(
        ModelConfig(backbone="neumf", embedding_dim=3, dtype=dtype),
        OptimizerConfig(),
        num_users=7,
        num_items=9,
        seed=seed,
        collectives=LocalCollectives(),
        device=torch.device("cpu"),
    )


def trained_learner(dtype: str = "float32") -> Learner:
    """After one step, so that the optimiser has a state."""
    learner = make_learner(dtype=dtype)
    plan = IndexPlan.of(torch.tensor([1, 2]), torch.tensor([3, 4]))
    StepExecutor(learner).minimize(plan, lambda logits: (logits.sum(), None), capacity=2)
    return learner


def test_equal_learners_have_equal_fingerprints_and_others_do_not() -> None:
    assert torch.equal(fingerprint(make_learner()), fingerprint(make_learner()))
    assert not torch.equal(fingerprint(make_learner()), fingerprint(make_learner(seed=2)))
    assert not torch.equal(fingerprint(make_learner()), fingerprint(trained_learner()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_flipped_bit_shows(dtype: str) -> None:
    learner = trained_learner(dtype)
    tensors = [learner.users.packed, learner.items.packed, learner.tower.packed]
    before = fingerprint(learner)
    assert before.shape == (1 + len(tensors),)
    for k, tensor in enumerate(tensors):
        words = tensor.view(torch.int64 if tensor.element_size() == 8 else torch.int32).view(-1)
        for place, bit in ((0, 1), (words.numel() - 1, 1 << 20)):
            words[place] ^= bit
            changed = (fingerprint(learner) != before).nonzero().flatten().tolist()
            assert changed == [1 + k]
            words[place] ^= bit
    assert torch.equal(fingerprint(learner), before)


def test_equal_replicas_pass_and_one_that_differs_ends_the_run_on_every_rank() -> None:
    # Built one after the other: the tower's start comes from torch's global generator, which threads share.
    replicas = [make_learner() for _ in range(3)]

    def message(ranks: ThreadCollectives) -> str:
        try:
            check_replicas(replicas[ranks.rank], ranks)
        except RuntimeError as error:
            return str(error)
        return "equal"

    assert run_on_threads(3, message) == ["equal"] * 3
    replicas[2].items.packed[8, 0] += 1e-6
    for message_of_rank in run_on_threads(3, message):
        assert "ranks [2] do not hold the bits of rank 0" in message_of_rank
    replicas[2] = make_learner()
    replicas[0].items.packed[8, 0] += 1e-6
    for message_of_rank in run_on_threads(3, message):
        assert "ranks [1, 2] do not hold" in message_of_rank
