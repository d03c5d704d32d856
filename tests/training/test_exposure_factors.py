"""Runs of a model whose rows take exposure factors: what they are given, saved with, resumed and served by."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from forged_checkpoints import rewrite_manifests
from local_runs import local_trainer
from small_datasets import random_rows, write_dataset
from thread_ranks import run_on_threads
from watch_logs import Watches, prepared, watches

from distributed_il.core.collectives import Collectives
from distributed_il.core.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.data.dataset import Dataset, LocalBlockReader, write_factors
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.data.prepare.build.exposure_factors import add_factors
from distributed_il.data.prepare.build.training_exposures import training_exposures
from distributed_il.inference.config import EvaluateConfig
from distributed_il.inference.evaluate import evaluate, load_model
from distributed_il.inference.fold_in import load_fold_in
from distributed_il.inference.model import load_served_model
from distributed_il.runtime.preflight import check_run
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.exposure_factors import resolve_factors
from distributed_il.training.run_hooks import RunHooks
from distributed_il.training.run_state import Stopped
from distributed_il.training.trainer import Trainer

USERS, ITEMS, COLUMNS = 60, 50, 4
STRANGER = USERS - 1
"""A user of no training row, and of no unclear one."""


def config_of(data: Dataset, run_dir: Path, *, start: str | None = None, **model: Any) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(path=data.path),
        run=RunConfig(dir=str(run_dir), batch_size=100, max_rounds=2, patience=2, seed=3, start_from=start),
        model=ModelConfig(**{"embedding_dim": 4, "init_std": 0.1, "dtype": "float64", **model}),
        optimizer=OptimizerConfig(learning_rate=0.02, weight_decay=1e-4),
        method=InverseGradientConfig(),
    )


def make(path: Path, *, taste: bool = True, users: int = USERS) -> Dataset:
    """With taste, two halves of the users watch two halves of the items; the last user watches nothing in training."""
    rows = random_rows(
        np.random.default_rng(1), users, ITEMS, {"train": 1000, "valid": 200, "test": 200, "unclear": 600}
    )
    for name, columns in rows.items():
        kept = np.ones(columns["user_id"].size, dtype=np.bool_)
        if taste:
            kept &= (columns["user_id"] % 2) == (columns["item_id"] % 2)
        if name in ("train", "unclear"):
            kept &= columns["user_id"] != users - 1
        rows[name] = {key: column[kept] for key, column in columns.items()}
    return write_dataset(path, rows, num_users=users, num_items=ITEMS, lanes=2)


def with_factors(data: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **settings: Any) -> Dataset:
    monkeypatch.setattr("distributed_il.data.prepare.build.exposure_factors._LEAST_EXPOSURES", 100)
    add_factors(data, tmp_path, **{"columns": COLUMNS, **settings})
    return Dataset.open(data.path)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    return with_factors(make(tmp_path / "data"), monkeypatch, tmp_path)


def note_of(config: TrainConfig) -> tuple[int | Literal["auto"], str]:
    """What `model.factors` comes to, and what a person is told."""
    notes: list[str] = []
    resolved = resolve_factors(config, Dataset.open(config.data.path), note=notes.append)
    return resolved.model.factors, "".join(notes)


def test_auto_takes_all_columns_where_there_is_structure(data: Dataset, tmp_path: Path) -> None:
    assert note_of(config_of(data, tmp_path / "run")) == (COLUMNS, "")


def test_auto_takes_none_where_there_is_none_or_nothing_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = make(tmp_path / "plain", taste=False)
    columns, note = note_of(config_of(plain, tmp_path / "run"))
    assert columns == 0
    assert f"prepare --factors_only --output={plain.path}" in note
    columns, note = note_of(config_of(with_factors(plain, monkeypatch, tmp_path), tmp_path / "run"))
    assert columns == 0
    assert "carries no structure" in note


def test_of_all_ranks_one_tells_it(tmp_path: Path) -> None:
    config, notes = config_of(make(tmp_path / "plain"), tmp_path / "run"), list[str]()
    dataset, hooks = Dataset.open(config.data.path), RunHooks(on_note=notes.append)

    def start(ranks: Collectives) -> None:
        reader, device = LocalBlockReader(dataset), torch.device("cpu")
        Trainer(config, dataset, reader=reader, collectives=ranks, device=device, hooks=hooks)

    run_on_threads(2, start)
    assert len(notes) == 1


def test_what_cant_be_had_is_refused_before_the_run(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.factors is 5 and .* has 4 columns; .*--factors=5"):
        check_run(config_of(data, tmp_path / "run", factors=5))
    plain = make(tmp_path / "plain")
    with pytest.raises(UserError, match=r"model\.factors is 2 and .* has no exposure factors; .*--factors_only"):
        check_run(config_of(plain, tmp_path / "run", factors=2))
    with pytest.raises(UserError, match=r"model\.row_dropout is 0\.5 and model\.factors auto comes to 0"):
        check_run(config_of(plain, tmp_path / "run", row_dropout=0.5))
    with pytest.raises(UserError, match=r"model\.row_dropout is 0\.5 and model\.factors 0"):
        config_of(plain, tmp_path / "run", factors=0, row_dropout=0.5)


def test_a_run_is_saved_with_a_number_and_names_its_factors(data: Dataset, tmp_path: Path) -> None:
    trainer = local_trainer(config_of(data, tmp_path / "run"))
    assert (trainer.learner.tower.extra("factors.users") == 0).all()
    trainer.run()
    assert (trainer.learner.tower.extra("factors.users") != 0).all()
    assert "factors: 4" in (tmp_path / "run" / "config.yaml").read_text()
    stored = data.factors()
    assert stored is not None
    store = CheckpointStore(str(tmp_path / "run"))
    manifest = store.manifest("best")
    assert manifest is not None
    assert manifest["factors"] == {
        "fingerprint": stored.fingerprint,
        "basis": stored.basis_fingerprint,
        "tau_users": stored.manifest.tau_users,
        "tau_items": stored.manifest.tau_items,
    }
    arrays = store.state(manifest).arrays
    assert np.array_equal(arrays["basis.item_vectors"], stored.x_items)
    assert np.array_equal(arrays["basis.singular_values"], stored.singular_values)


def test_the_first_columns_are_taken_where_fewer_are_asked_for(data: Dataset, tmp_path: Path) -> None:
    learner = local_trainer(config_of(data, tmp_path / "run", factors=2)).learner
    stored = data.factors()
    assert stored is not None
    assert np.array_equal(learner.embeddings.factors[0].raw.numpy(), stored.z_users[:, :2])  # pyright: ignore
    assert learner.tower.extra("factors.items").shape == (2, 5)


@pytest.mark.parametrize("row_dropout", [0.0, 0.4])
def test_a_stopped_run_resumes_to_the_bit_whatever_factors_came_meanwhile(
    row_dropout: float, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = local_trainer(config_of(data, tmp_path / "whole", row_dropout=row_dropout))
    whole.run()
    config = config_of(data, tmp_path / "run", row_dropout=row_dropout)
    stopped = local_trainer(config)
    stopped.hooks = dataclasses.replace(stopped.hooks, should_stop=lambda: stopped.state.round == 1)
    with pytest.raises(Stopped):
        stopped.run()
    with_factors(data, monkeypatch, tmp_path, tau=2.0, columns=3)  # now in use; the run's own stay beside them
    check_run(config)
    resumed = local_trainer(config)
    assert resumed.config.model.factors == COLUMNS
    resumed.run()
    assert torch.equal(resumed.learner.tower.packed, whole.learner.tower.packed)
    assert torch.equal(resumed.learner.users.packed, whole.learner.users.packed)
    ends = [CheckpointStore(str(tmp_path / run)).manifest("last") for run in ("whole", "run")]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[1]["factors"] == ends[0]["factors"]


def test_evaluation_and_serving_add_the_factors(data: Dataset, tmp_path: Path) -> None:
    result = local_trainer(config_of(data, tmp_path / "run")).run()
    again = evaluate(EvaluateConfig(run_dir=str(tmp_path / "run")))
    assert again["test"] == result["test"]
    learner, _ = load_model(str(tmp_path / "run"), "best", None)
    served, _ = load_served_model(str(tmp_path / "run"), "best", None)
    users, items = (grid.reshape(-1) for grid in np.meshgrid(np.arange(USERS), np.arange(ITEMS), indexing="ij"))
    expected = learner.score(torch.from_numpy(users), torch.from_numpy(items))
    assert torch.allclose(served.logits(users, items), expected, rtol=0, atol=1e-12)


def test_whoever_has_exposures_is_known(data: Dataset, tmp_path: Path) -> None:
    local_trainer(config_of(data, tmp_path / "run")).run()
    served, run = load_served_model(str(tmp_path / "run"), "best", None)
    exposed = np.diff(data.observed().indptr) + np.diff(data.logged().indptr) > 0
    labelled = run.dataset.activity().user_rows > 0
    assert not exposed[STRANGER]
    assert np.array_equal(served.known.users, exposed | labelled)


def test_a_run_without_factors_is_gone_on_from_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = make(tmp_path / "data")
    local_trainer(config_of(plain, tmp_path / "old")).run()
    _forget_factors(tmp_path / "old")  # as a version that knew of none left it
    data = with_factors(plain, monkeypatch, tmp_path)
    config = config_of(data, tmp_path / "new", start=str(tmp_path / "old"))
    check_run(config)
    trainer = local_trainer(config)
    old, _ = load_model(str(tmp_path / "old"), "best", None)
    assert trainer.config.model.factors == COLUMNS
    assert torch.equal(trainer.learner.users.packed, old.users.packed)
    users, items = torch.arange(ITEMS), torch.arange(ITEMS)
    assert torch.equal(trainer.learner.score(users, items), old.score(users, items))
    trainer.run()
    assert (trainer.learner.tower.extra("factors.items") != 0).all()


def test_a_warm_start_keeps_the_basis_or_is_refused(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_trainer(config_of(data, tmp_path / "old")).run()
    old = str(tmp_path / "old")
    foreign = with_factors(make(tmp_path / "foreign", users=USERS + 3), monkeypatch, tmp_path)
    with pytest.raises(UserError, match=r"exposure factors of another basis .* prepare --append_to"):
        check_run(config_of(foreign, tmp_path / "new", start=old))
    bare = make(tmp_path / "bare", users=USERS + 3)
    with pytest.raises(UserError, match=r"bare has no exposure factors, and checkpoint .* prepare --append_to"):
        check_run(config_of(bare, tmp_path / "new", start=old))
    grown = with_factors(
        make(tmp_path / "grown", users=USERS + 3), monkeypatch, tmp_path, columns=None, parent=data.factors()
    )
    config = config_of(grown, tmp_path / "new", start=old)
    check_run(config)
    trainer = local_trainer(config)
    before, _ = load_model(old, "best", None)
    assert torch.equal(trainer.learner.tower.packed, before.tower.packed)
    with pytest.raises(UserError, match=r"model\.factors \(there 4, here 0\)"):
        check_run(config_of(grown, tmp_path / "new", start=old, factors=0))


def test_a_model_goes_on_with_factors_computed_anew_after_growth(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    groups = rng.integers(6, size=220), rng.integers(6, size=90)  # those of `planted`
    log: Watches = [
        (user, item, label and str(int(groups[0][user] == groups[1][item])))
        for user, item, label in watches(users=220, seed=4)
    ]
    old = prepared(tmp_path, "old", [row for row in log if row[0] < 160], factors=5)
    later = [row for row in log if row[0] >= 160]
    grown = prepared(tmp_path, "grown", later, append_to=old.path, new_ids=True)
    model: dict[str, Any] = {"backbone": "bias_mf", "factor_scale": 1.0}
    local_trainer(config_of(old, tmp_path / "run", **model)).run()
    config = config_of(grown, tmp_path / "new", start=str(tmp_path / "run"), **model)
    users, items = (torch.from_numpy(ids.ravel()) for ids in np.meshgrid(np.arange(old.num_users), np.arange(80)))

    def at_the_switch() -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of old pairs before the first step, and z·A of old items."""
        check_run(config)
        learner = local_trainer(config).learner
        z: torch.Tensor = learner.embeddings.factors[1].of(torch.arange(80))  # pyright: ignore
        return learner.score(users, items), z @ learner.tower.extra("factors.items")

    logits, rows = at_the_switch()
    prepare(PrepareConfig(output=grown.path, factors_only=True))
    new_logits, new_rows = at_the_switch()
    # The same factors, but for the rotation.
    stored = Dataset.open(grown.path).factors()
    assert stored is not None
    plain = dataclasses.replace(stored.basis(), rotation=None)
    exposures = training_exposures(grown, tmp_path).exposures
    arrays = {"z_users": plain.user_folder().fold(exposures.by_user), "z_items": plain.of_items()}
    arrays["x_items"] = plain.item_vectors
    manifest = dataclasses.replace(stored.manifest, rotation=())
    write_factors(grown.filesystem, grown.root, tmp_path, manifest, arrays)
    other_logits, other_rows = at_the_switch()
    assert (new_logits - logits).std() < 0.3 * logits.std()
    assert (other_logits - logits).std() > logits.std()
    assert (new_rows - rows).norm() < 0.3 * rows.norm()
    assert (other_rows - rows).norm() > rows.norm()
    # Without alignment they are another basis.
    manifest = dataclasses.replace(manifest, basis="")
    write_factors(grown.filesystem, grown.root, tmp_path, manifest, arrays)
    with pytest.raises(UserError, match="exposure factors of another basis"):
        check_run(config)


@pytest.mark.parametrize("columns", [COLUMNS, 2])
def test_a_checkpoint_holds_all_that_folds_users_in_to_aligned_columns(
    columns: int, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = with_factors(data, monkeypatch, tmp_path, tau=2.0, earlier=data.factors()).factors()
    assert stored is not None
    assert stored.rotation is not None
    local_trainer(config_of(data, tmp_path / "run", factors=columns)).run()
    store = CheckpointStore(str(tmp_path / "run"))
    manifest = store.manifest("best")
    assert manifest is not None
    basis: dict[str, Any] = {name.removeprefix("basis."): array for name, array in store.state(manifest).arrays.items()}
    exposures = training_exposures(data, tmp_path).exposures.by_user
    history = np.concatenate([index.ids[: index.offsets[1]] for index in exposures])  # of the first user
    means = (basis["item_vectors"][history] - basis["item_centre"]).sum(axis=0)
    means = means / (history.size + manifest["factors"]["tau_users"]) / basis["user_scales"]
    np.testing.assert_allclose(means @ basis["rotation"], stored.z_users[0, :columns], atol=1e-4)
    folding = load_fold_in(str(tmp_path / "run"), "best", None).factors
    assert folding is not None
    z = torch.from_numpy(np.clip(stored.z_users[:, :columns], -4, 4) * 0.1).double()
    torch.testing.assert_close(folding.of(exposures), z @ folding.weights, rtol=1e-5, atol=1e-7)


def _forget_factors(run: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        for name in ("factors", "factor_scale", "factor_decay", "row_dropout"):
            del manifest["config"]["model"][name]

    rewrite_manifests(run, change)
