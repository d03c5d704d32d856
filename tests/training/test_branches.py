"""Rounds that training-test decides: the journal's way against whole copies, over ranks, through kills and stops."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dense_reference import DenseReference, dual_losses, log_losses
from random_batches import part_of_rank, random_batch
from rank_cases import ITEMS, USERS, Case, make_learner, whole_table
from small_datasets import make_small_dataset
from thread_ranks import run_on_threads
from torch import Tensor

from distributed_il.core.collectives import Collectives, LocalCollectives
from distributed_il.core.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.data.loading.batch import Batch
from distributed_il.evaluation.affine_calibration import affine_loss, fit_affine
from distributed_il.evaluation.calibrated_loss import calibrated_loss
from distributed_il.methods.branches import Branch, signed_branches
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner
from distributed_il.training import branches
from distributed_il.training.branches import check_memory, keep_best_branch
from distributed_il.training.monitor import NullMonitor
from distributed_il.training.run_hooks import RunHooks
from distributed_il.training.trainer import Stopped, Trainer

ROUND = InverseGradientConfig(decision="round", unlabelled_weight=2.0, test_share=0.2)
ROUNDS, STEPS, ROWS = 3, 4, 17
Found = tuple[list[dict[str, Any]], list[Tensor]]


def batch(round: int, step: int, *, rate: int = 0) -> Batch:
    """The same rows with and without pairs."""
    drawn = random_batch(np.random.default_rng((10 + round, step)), rows=ROWS, num_users=USERS, num_items=ITEMS, rate=1)
    return drawn if rate else dataclasses.replace(drawn, unlabelled=None)


def held_out(round: int) -> list[Batch]:
    """Three batches; of the last one's only row most ranks see nothing."""
    rows = (40, 40, 1)
    rng = np.random.default_rng(100 + round)
    return [random_batch(rng, rows=count, num_users=USERS, num_items=ITEMS) for count in rows]


def by_journal(case: Case, ranks: Collectives) -> Found:
    """Some rounds, each followed by plain steps over what decided; decisions, and the whole model."""
    learner = make_learner(case, ranks)
    executor = StepExecutor(learner)
    decisions: list[dict[str, Any]] = []

    def own(whole: Batch) -> Batch:
        return part_of_rank(whole, ranks.rank, ranks.world_size)

    for round in range(ROUNDS):

        def take(branch: Branch, round: int = round) -> None:
            for step in range(STEPS):
                branch.step(executor, own(batch(round, step, rate=int(branch.phase.unlabelled))))

        def judge(round: int = round) -> float:
            return calibrated_loss(learner, map(own, held_out(round)), ranks)

        decisions.append(keep_best_branch(learner, signed_branches(2.0), take=take, judge=judge))
        for whole in held_out(round):
            executor.plain(own(whole))
    learner.materialize()
    packed = [whole_table(learner.users, ranks), whole_table(learner.items, ranks), learner.tower.packed.clone()]
    return decisions, packed


def by_whole_copies(case: Case) -> tuple[list[dict[str, Any]], DenseReference]:
    """The same by three copies of everything, each trained on its own, and the smallest loss."""
    present = DenseReference(make_learner(case, LocalCollectives()))
    decisions: list[dict[str, Any]] = []
    for round in range(ROUNDS):
        tried = {name: copy.deepcopy(present) for name in ("plus", "zero", "minus")}
        losses: dict[str, float] = {}
        for (name, reference), sign in zip(tried.items(), (1, 0, -1), strict=True):
            for step in range(STEPS):
                rows = batch(round, step, rate=1)
                loss = log_losses(reference.model(rows.user_ids, rows.item_ids), rows.labels).mean()
                users, items, pairs = rows.user_ids, rows.item_ids, rows.unlabelled
                assert pairs is not None
                if sign:
                    dual = dual_losses(reference.model(pairs.user_ids, pairs.item_ids)) * pairs.weight
                    loss = loss + sign * 2.0 * dual.mean()
                    users, items = torch.cat([users, pairs.user_ids]), torch.cat([items, pairs.item_ids])
                reference.descend(loss, users, items)
            whole = held_out(round)
            logits = torch.cat([reference.model(rows.user_ids, rows.item_ids) for rows in whole]).detach().numpy()
            scored = [(logits, torch.cat([rows.labels for rows in whole]).numpy())]
            losses[name] = affine_loss(fit_affine(lambda scored=scored: scored), lambda scored=scored: scored)
        chosen = min(("zero", "plus", "minus"), key=lambda name: losses[name])
        decisions.append({"chosen": chosen, "losses": losses})
        present = tried[chosen]
        for rows in held_out(round):
            present.labelled_step(rows)
    return decisions, present


def assert_same_decisions(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], tolerance: float) -> None:
    assert [one["chosen"] for one in ours] == [one["chosen"] for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=0, abs=tolerance)


@pytest.mark.parametrize("case", [Case(ROUND, "gmf"), Case(ROUND, "bias_mf", factors=True)], ids=["gmf", "factors"])
def test_whole_copies_and_ranks_come_to_the_same(case: Case) -> None:
    decisions, packed = by_journal(case, LocalCollectives())
    expected, reference = by_whole_copies(case)
    assert {one["chosen"] for one in expected} == {"plus", "zero", "minus"}
    assert_same_decisions(decisions, expected, 1e-10)
    for k, model in enumerate((reference.model.users, reference.model.items)):
        own = torch.cat([model.detach(), reference.first[k], reference.second[k]], dim=1)
        torch.testing.assert_close(packed[k], own, rtol=0, atol=1e-10)
    for world_size, tables in ((2, "sharded"), (4, "replicated")):
        found = run_on_threads(
            world_size, lambda ranks, tables=tables: by_journal(dataclasses.replace(case, tables=tables), ranks)
        )
        for theirs, bits in found:
            assert theirs == found[0][0]
            assert_same_decisions(theirs, decisions, 1e-10)
            for one, first, alone in zip(bits, found[0][1], packed, strict=True):
                assert torch.equal(one, first)
                torch.testing.assert_close(one, alone, rtol=0, atol=1e-10)


def test_a_branch_that_wins_again_has_the_bits_of_its_first_time() -> None:
    learner = make_learner(Case(ROUND, missed_steps="catch_up"), LocalCollectives())
    executor, after = StepExecutor(learner), list[Tensor]()

    def take(branch: Branch) -> None:
        for step in range(STEPS):
            branch.step(executor, batch(0, step, rate=int(branch.phase.unlabelled)))
        after.append(torch.cat([learner.users.packed, learner.users.last_step.unsqueeze(1)], dim=1))

    decision = keep_best_branch(learner, signed_branches(2.0), take=take, judge=iter([0.5, 0.4, 0.6]).__next__)
    assert decision == {"chosen": "zero", "losses": {"plus": 0.5, "zero": 0.4, "minus": 0.6}}
    assert len(after) == 4
    assert torch.equal(after[3], after[1])
    assert learner.step == STEPS


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_small_dataset(tmp_path_factory.mktemp("branches") / "dataset", train=600, valid=100, test=100)


class Noted(NullMonitor):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.values: dict[str, list[tuple[int, float]]] = {}

    def scalars(self, values: Any, step: int) -> None:
        for tag, value in values.items():
            self.values.setdefault(tag, []).append((step, value))


def trainer(
    dataset: Dataset,
    run_dir: Path,
    ranks: Collectives | None = None,
    hooks: RunHooks | None = None,
    missed_steps: Any = "catch_up",
    tables: Any = "replicated",
    **run: Any,
) -> Trainer:
    world_size = 1 if ranks is None else ranks.world_size
    settings: dict[str, Any] = {"batch_size": 48 // world_size, "max_rounds": 2, "checkpoint_every_s": None} | run
    return Trainer(
        TrainConfig(
            data=DataConfig(path=dataset.path),
            model=ModelConfig(backbone="bias_mf", embedding_dim=4, init_std=0.3, dtype="float64", tables=tables),
            optimizer=OptimizerConfig(learning_rate=5e-3, weight_decay=1e-3, missed_steps=missed_steps),
            run=RunConfig(dir=str(run_dir), workers=world_size, **settings),
            method=ROUND,
        ),
        dataset,
        reader=LocalBlockReader(dataset),
        collectives=ranks or LocalCollectives(),
        device=torch.device("cpu"),
        hooks=hooks or RunHooks(),
    )


def course(one: Trainer) -> tuple[list[dict[str, Any]], list[Tensor], Any]:
    """How a run went, and the bits that it ended with."""
    learner = one.learner
    tables = [tensor for table in (learner.users, learner.items) for tensor in (table.packed, table.last_step)]
    telemetry = one.telemetry.pairs.tolist(), one.telemetry.weights.counts.tolist()
    return one.state.history, [*tables, learner.tower.packed], telemetry


def assert_same_course(ours: Trainer, theirs: Trainer) -> None:
    history, bits, telemetry = course(ours)
    expected, wanted, told = course(theirs)
    assert history == expected
    assert all(torch.equal(*pair) for pair in zip(bits, wanted, strict=True))
    assert telemetry == told


@pytest.fixture(scope="module")
def undisturbed(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    one = trainer(dataset, tmp_path_factory.mktemp("undisturbed") / "run")
    one.fit()
    return one


def test_runs_on_ranks_decide_and_train_alike(dataset: Dataset, tmp_path: Path, undisturbed: Trainer) -> None:
    """With 48 rows of 480 in a batch, then 48 of 120, in lanes of 25."""
    history, bits, _ = course(undisturbed)

    def run(ranks: Collectives, tables: str) -> tuple[list[dict[str, Any]], list[Tensor]]:
        one = trainer(dataset, tmp_path / f"{ranks.world_size}", ranks, tables=tables)
        one.fit()
        packed = [whole_table(table, ranks) for table in (one.learner.users, one.learner.items)]
        return one.state.history, [*packed, one.learner.tower.packed]

    for world_size, tables in ((2, "sharded"), (4, "replicated")):
        for found, packed in run_on_threads(world_size, lambda ranks, tables=tables: run(ranks, tables)):
            assert_same_decisions([e["branches"] for e in found], [e["branches"] for e in history], 1e-10)
            for one, other in zip(packed, [bits[0], bits[2], bits[4]], strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


class Killed(BaseException):
    """Stands for a SIGKILL."""


def after(reports: int, do: Callable[[], bool]) -> Callable[[], bool]:
    """Does something at the report of that number, and from then on."""
    asked = iter(range(10**9))
    return lambda: next(asked) >= reports and do()


def kill() -> bool:
    raise Killed


# Of a pass over training-train each of 10 steps reports, then each of 3 over training-test; the second round takes its
# winner again.
@pytest.mark.parametrize(
    ("way", "reports", "place"),
    [
        ("stopped", 0, (0, 0)),
        ("killed", 15, (0, 0)),
        ("killed", 31, (0, 1)),
        ("stopped", 45, (1, 0)),
        ("killed", 65, (1, 0)),
        ("stopped", 74, (1, 1)),
    ],
)
def test_a_run_that_is_interrupted_goes_on_to_the_same_bits(
    way: str, reports: int, place: tuple[int, int], dataset: Dataset, tmp_path: Path, undisturbed: Trainer
) -> None:
    hook = after(reports, kill if way == "killed" else lambda: True)
    with pytest.raises(Killed if way == "killed" else Stopped):
        trainer(dataset, tmp_path / "run", hooks=RunHooks(should_stop=hook), checkpoint_every_steps=1).fit()
    again = trainer(dataset, tmp_path / "run", checkpoint_every_steps=1)
    assert (again.state.round, again.state.phase) == place
    again.fit()
    assert_same_course(again, undisturbed)


def test_a_save_that_is_requested_meanwhile_comes_with_the_decision(dataset: Dataset, tmp_path: Path) -> None:
    saved: list[int] = []
    requests = iter([False] * 10 + [True] + [False] * 10**4)
    one = trainer(dataset, tmp_path / "run", hooks=RunHooks(should_save=lambda: next(requests)), max_rounds=1)
    save = one.store.save
    one.store.save = lambda learner, *args, **named: (saved.append(learner.step), save(learner, *args, **named))[1]
    one.fit()
    assert saved == [0, 11, 13]  # the start, the first report after the decision, the end of the round


def test_what_a_run_tells(dataset: Dataset, tmp_path: Path, undisturbed: Trainer) -> None:
    noted = Noted()
    one = trainer(dataset, tmp_path / "run", hooks=RunHooks(monitor=noted))
    one.run()
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    entries = undisturbed.state.history
    assert [entry["branches"] for entry in written["history"]] == [entry["branches"] for entry in entries]
    chosen = [entry["branches"]["chosen"] for entry in entries]
    assert written["run"]["branches"] == {name: chosen.count(name) for name in ("plus", "zero", "minus")}
    assert written["run"]["decisions"] is None
    assert "branches" not in written["valid"]
    signs = {"plus": 1, "zero": 0, "minus": -1}
    assert noted.values["branches/chosen_sign"] == [(10, signs[chosen[0]]), (23, signs[chosen[1]])]
    for name in signs:
        assert noted.values[f"branches/{name}"] == [
            (step, entry["branches"]["losses"][name]) for step, entry in zip((10, 23), entries, strict=True)
        ]
    # Steps that may be taken back show no curve; those that are kept do.
    steps = [step for step, _ in noted.values["throughput/rows_per_s"]]
    assert steps == [11, 12, 13, 24, 25, 26]
    # 480 rows have a pair each in a round whose choice has an unlabelled term.
    drawn = 480 * sum(name != "zero" for name in chosen)
    assert written["run"]["unlabelled_pairs"]["drawn"] == drawn


def test_too_little_memory_is_refused_before_the_round(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(ranks: Collectives) -> tuple[str, int]:
        one = trainer(dataset, tmp_path / "run", ranks)
        with pytest.raises(UserError) as caught:
            one.fit()
        return str(caught.value), one.learner.step

    monkeypatch.setattr(branches, "available_bytes", lambda: 30_000)
    # Rows of 3 · 5 float64 with 13 bytes, 40 users and 60 items, and no tower but bias_mf's: above 13 kB a rank.
    found = run_on_threads(4, refused)
    assert len(set(found)) == 1
    message, step = found[0]
    assert "method.decision is round" in message
    assert "0.00 GB free; set method.decision to batch, or model.tables to sharded" in message
    assert step == 0


def test_memory_is_counted_by_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks on each of two machines; only together they need more than one has."""
    hosts = iter(["a", "a", "b", "b"])
    case = Case(ROUND)

    def check(ranks: Collectives) -> Learner:
        learner = make_learner(case, ranks)
        check_memory(learner, most_touched=10)
        return learner

    needed = branches.journal_bytes(make_learner(case, LocalCollectives()), 10)
    monkeypatch.setattr(branches.socket, "gethostname", lambda: next(hosts))
    monkeypatch.setattr(branches, "available_bytes", lambda: 2 * needed)
    run_on_threads(4, check)
    hosts = iter(["a", "a", "a", "b"])
    with pytest.raises(UserError, match="workers of one machine or GPU"):
        run_on_threads(4, check)
