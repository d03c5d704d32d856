"""Two and four real processes against one process with the joined batch, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from dense_reference import DenseReference, log_losses
from gloo_ranks import run_on_gloo
from random_batches import part_of_rank
from rank_cases import CASES, DDP_CASES, LOCAL_T_CE, Outcome, crossing_batch, global_batches, make_learner, run_cases
from small_datasets import make_small_dataset

from distributed_il.core.collectives import Collectives, LocalCollectives
from distributed_il.core.shared_memory import NodeCollectives, join_ranks
from distributed_il.methods import make_method


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """24 lanes of 10 rows in blocks of 5."""
    return make_small_dataset(tmp_path_factory.mktemp("ranks") / "dataset", train=240, row_group_rows=5).path


@pytest.fixture(scope="module")
def alone(dataset: str) -> dict[str, Any]:
    """What one process ends with, by case."""
    return run_cases(LocalCollectives(), dataset)


def run_cases_in_memory(ranks: Collectives, dataset: str) -> dict[str, Any]:
    memory = join_ranks(120)
    assert isinstance(memory, NodeCollectives)
    return run_cases(memory, dataset)


@pytest.fixture(scope="module", params=[2, 4], ids=["2 ranks in memory", "4 ranks over gloo"])
def ranks(request: pytest.FixtureRequest, dataset: str, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What each rank ends with, by case: one start of the processes for all tests."""
    function = run_cases_in_memory if request.param == 2 else run_cases
    return run_on_gloo(request.param, tmp_path_factory.mktemp("gloo"), function, dataset)


def assert_same_weights(outcome: Outcome, expected: Outcome, *, atol: float) -> None:
    for ours, theirs in (
        (outcome.users, expected.users),
        (outcome.items, expected.items),
        (outcome.tower, expected.tower),
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("case", CASES)
def test_ranks_equal_one_process_with_the_joined_batch(ranks: list[Any], alone: dict[str, Any], case: str) -> None:
    expected: Outcome = alone[case]
    for results in ranks:
        outcome: Outcome = results[case]
        assert outcome.choices == expected.choices
        for losses, wanted in zip(outcome.losses, expected.losses, strict=True):
            assert losses == pytest.approx(wanted, rel=0, abs=1e-12)
        assert_same_weights(outcome, expected, atol=1e-10)
    joined = torch.stack([results[case].loss_sums for results in ranks]).sum(dim=0)
    torch.testing.assert_close(joined, expected.loss_sums, rtol=1e-10, atol=1e-12)
    assert np.sum([results[case].rows for results in ranks], axis=0).tolist() == expected.rows


@pytest.mark.parametrize("case", [*CASES, "t_ce, local"])
def test_sharded_rows_equal_replicated_ones(ranks: list[Any], case: str) -> None:
    """To the bit, but for catching up, whose powers depend on a row's place in a vector register, and for factors:
    Zᵀ·∇w sums the rows of a batch in the order of their owners."""
    tolerance = 1e-12 if "factors" in case else 1e-14 if case == "ig, catch up" else 0
    for results in ranks:
        outcome, expected = results[f"sharded, {case}"], results[case]
        assert outcome.choices == expected.choices
        assert outcome.rows == expected.rows
        np.testing.assert_allclose(outcome.losses, expected.losses, rtol=0, atol=tolerance)
        torch.testing.assert_close(outcome.loss_sums, expected.loss_sums, rtol=0, atol=tolerance)
        assert_same_weights(outcome, expected, atol=tolerance)


@pytest.mark.parametrize("case", DDP_CASES)
def test_a_tower_under_ddp_takes_the_same_steps(ranks: list[Any], case: str) -> None:
    """Over gloo; ranks in memory are not wrapped."""
    for results in ranks:
        assert results[f"ddp, {case}"].choices == results[case].choices
        assert_same_weights(results[f"ddp, {case}"], results[case], atol=1e-12)


def test_sharded_rows_give_the_same_bits_again(ranks: list[Any]) -> None:
    for results in ranks:
        assert results["again, sharded, ig"].losses == results["sharded, ig"].losses
        assert_same_weights(results["again, sharded, ig"], results["sharded, ig"], atol=0)


@pytest.mark.parametrize("case", [*CASES, "t_ce, local", "sharded, ig", "sharded, ig, neumf"])
def test_every_rank_ends_with_the_same_bits(ranks: list[Any], case: str) -> None:
    first: Outcome = ranks[0][case]
    for results in ranks[1:]:
        outcome: Outcome = results[case]
        assert outcome.losses == first.losses
        assert_same_weights(outcome, first, atol=0)


def test_the_cases_take_every_decision_and_ranks_without_rows(alone: dict[str, Any], ranks: list[Any]) -> None:
    taken = {choice for name in CASES for choice in alone[name].choices}
    assert taken == {0, 1, 2}
    assert ranks[-1]["ig"].rows[-1] == 0
    assert len(alone["ig, dataset"].choices) > 2


@pytest.mark.parametrize("world_size", [2, 4])
def test_crossing_pairs_meet_rows_of_other_ranks_and_none_of_their_own(world_size: int) -> None:
    parts = [part_of_rank(crossing_batch(np.random.default_rng(0), 33), r, world_size) for r in range(world_size)]
    for name in ("user_ids", "item_ids"):
        rows = [set(getattr(part, name).tolist()) for part in parts]
        pairs = [set(getattr(part.unlabelled, name).tolist()) for part in parts]
        for rank in range(world_size):
            assert not rows[rank] & pairs[rank]
            assert any(rows[rank] & other for other in pairs)


def test_local_t_ce_drops_each_ranks_own_worst_rows(ranks: list[Any], alone: dict[str, Any]) -> None:
    learner = make_learner(LOCAL_T_CE, LocalCollectives())
    reference = DenseReference(learner)
    for step, batch in enumerate(global_batches(LOCAL_T_CE, make_method(LOCAL_T_CE.method))):
        rate, kept = 0.4 * min(1.0, step / 4), []
        for rank in range(len(ranks)):
            part = part_of_rank(batch, rank, len(ranks))
            losses = log_losses(reference.model(part.user_ids, part.item_ids), part.labels)
            size = losses.numel()
            order = sorted(range(size), key=lambda k: float((losses * part.labels).detach()[k]))
            kept.append(losses[order[: size - int(rate * size + 1e-9)]])
        reference.descend(torch.cat(kept).mean(), batch.user_ids, batch.item_ids)
    outcome: Outcome = ranks[0]["t_ce, local"]
    torch.testing.assert_close(outcome.users[:, :4], reference.model.users.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(outcome.items[:, :4], reference.model.items.detach(), rtol=0, atol=1e-10)
    # It is another result than the global ranking's.
    assert float((outcome.users - alone["t_ce"].users).abs().max()) > 1e-4


@pytest.mark.parametrize("place", ["user weight", "item moment", "tower", "tower moment"])
def test_one_flipped_bit_on_one_rank_ends_the_run_on_all(ranks: list[Any], place: str) -> None:
    last = len(ranks) - 1
    for results in ranks:
        assert f"ranks [{last}] do not hold the bits of rank 0" in results["flips"][place]
        assert results["flips"][f"{place}, mended"] == "equal"


def test_collectives_give_every_rank_the_same(ranks: list[Any]) -> None:
    world_size = len(ranks)
    for results in ranks:
        found = results["collectives"]
        assert found["gathered"].tolist() == [[[rank] * 3] * 2 for rank in range(world_size)]
        assert found["bytes"].tolist() == [[rank] * 5 for rank in range(world_size)]
        assert found["empty"].shape == (world_size, 0, 3)
        assert found["summed"].tolist() == [world_size, sum(10.0**rank for rank in range(world_size))]
        assert torch.equal(found["inexact"], ranks[0]["collectives"]["inexact"])
        # 6 int64 + 5 uint8 + 0 + 2 float32 + 1000 float64
        assert found["sent_bytes"] == 48 + 5 + 0 + 8 + 8000
        assert found["seconds_are_counted"]
