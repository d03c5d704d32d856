"""The benchmark of what unlabelled feedback is worth, on a small log."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common import resumable_pool
from benchmarks.feedback_value.comparison import SELECT_BY, choose
from benchmarks.feedback_value.datasets import Job, make, read_probes
from benchmarks.feedback_value.kinds import KINDS, Kind
from benchmarks.feedback_value.movielens_logs import graded_log
from benchmarks.feedback_value.rows import ROWS, rows_of
from benchmarks.paper.search_space import candidates
from benchmarks.table2 import TrainingTask
from benchmarks.unlabelled_value import main, parse
from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare.build.training_exposures import training_exposures

ARGUMENTS = ["--settings", "g30", "--rows", "bias", "none", "factors", "factors_ordinal", "factors_shuffled"]


def test_a_dataset_has_its_probes_and_a_control_of_the_same_degrees(ratings: Path, tmp_path: Path) -> None:
    job = Job(kind=KINDS["g30"], source=str(ratings), seed=3, place=tmp_path / "g30-3", shuffled=True)
    made = make(job)
    log, dataset, control = graded_log(str(ratings), 0.3, 3), Dataset.open(made.path), Dataset.open(made.shuffled)
    users, items = dataset.vocabulary("users").to_numpy(), dataset.vocabulary("items").to_numpy()
    probes = read_probes(made.path)
    assert set(probes) == {"clear", "hidden"}
    for name, pairs in probes.items():
        assert np.array_equal(users[pairs.users], log.probes[name].users)
        assert np.array_equal(items[pairs.items], log.probes[name].items)
        assert np.array_equal(pairs.labels, log.probes[name].labels)
    assert read_probes(made.shuffled).keys() == probes.keys()

    own, dealt = dataset.factors(), control.factors()
    assert own is not None
    assert dealt is not None
    assert control.fingerprint == dataset.fingerprint == made.fingerprint
    assert (dealt.columns, dealt.manifest.tau_users) == (own.columns, own.manifest.tau_users)
    assert dealt.singular_values[0] < own.singular_values[0]
    assert not np.allclose(dealt.z_items, own.z_items)
    exposures = training_exposures(dataset, tmp_path).exposures
    assert np.array_equal(np.any(dealt.z_users, axis=1), exposures.user_degrees() > 0)

    before = (Path(made.path) / "manifest.json").stat().st_mtime_ns
    assert make(job) == made
    assert (Path(made.path) / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_a_simulated_dataset_has_factors_whatever_its_policy(strength: float, tmp_path: Path) -> None:
    sizes = {"num_users": 80, "num_items": 100, "num_positives": 500, "num_negatives": 400, "num_unclear": 700}
    kind = Kind(name="small", simulated={"preset": "demo", "policy_strength": strength, **sizes})
    made = make(Job(kind=kind, source="", seed=1, place=tmp_path / "small-1", shuffled=False))
    assert made.facts["train_rows"] + made.facts["valid_rows"] + made.facts["test_rows"] == 900
    assert made.facts["factors"] == 16
    assert not read_probes(made.path)


def test_rows_of_logged_pairs_need_a_log(make_dataset: Callable[..., Dataset]) -> None:
    named = [row.name for row in rows_of(KINDS["full"], make_dataset(unclear=0), tuple(ROWS))]
    assert named[:4] == ["bias", "none", "ns", "idl_sampled"]
    assert not {"idl_logged", "ig_logged", "ordinal", "factors"} & set(named)
    assert {"ig_rounds", "gmf_none", "neumf_ig"} <= set(named)
    assert "gmf_none" not in {row.name for row in rows_of(KINDS["g30"], make_dataset("other"), tuple(ROWS))}


def test_the_lowest_calibrated_loss_wins_and_a_diverged_run_never_does() -> None:
    tasks = [
        TrainingTask(
            name=str(number), data="", model_dir="", setting=setting, seed=0, max_rounds=1, patience=1, test=False
        )
        for number, setting in enumerate(candidates("gmf", "none", "ml1m")[:3])
    ]
    results = {"0": {"failed": "diverged"}, "1": {"valid": {SELECT_BY: 0.5}}, "2": {"valid": {SELECT_BY: 0.4}}}
    assert choose(tasks, results) is tasks[2]
    assert choose(tasks[:1], results) is None


def test_quick_is_what_the_defaults_of_quick_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTRIBUTED_IL_ML1M", "somewhere")
    options = parse(["--quick"])
    assert (options.source, options.settings, options.seeds, options.draws) == ("somewhere", ["g30", "r3"], 2, 3)
    assert options.rows == ["bias", "none", "ordinal", "factors", "factors_ordinal"]
    monkeypatch.delenv("DISTRIBUTED_IL_ML1M")
    assert parse(["--data", "dataset"]).settings == []
    with pytest.raises(SystemExit):
        parse(["--quick"])


def test_settings_of_one_name_are_refused(tiny_dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", tiny_dataset.path, tiny_dataset.path]) == 2
    assert "two settings are called dataset" in capsys.readouterr().err


def test_a_table_of_a_small_log(
    ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Processes would take most of the time to import torch.
    monkeypatch.setattr(resumable_pool, "ProcessPoolExecutor", lambda jobs, **_: ThreadPoolExecutor(jobs))
    out, work = tmp_path / "out", tmp_path / "work"
    places = ["--source", str(ratings), "--out", str(out), "--work", str(work)]
    assert main([*ARGUMENTS, "--draws", "1", "--seeds", "2", "--jobs", "1", *places]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    [path] = out.glob("unlabelled_value-*.json")
    report = json.loads(path.read_text())
    rows = report["details"]["settings"]["g30"]["rows"]
    assert set(rows) == {*ARGUMENTS[3:], "item_mean"}
    for row in rows.values():
        assert len(row["runs"]) == 2
        assert all(set(run) == {"test", "clear", "hidden"} for run in row["runs"])
    means = {name: np.mean([run["test"]["auc"] for run in row["runs"]]) for name, row in rows.items()}
    best = max(means["none"], means["bias"])
    for name in ("factors", "factors_ordinal"):
        assert last["g30"][f"{name}_minus_best_baseline_auc"] == pytest.approx(means[name] - best)
    assert 0 <= last["g30"]["p"] <= 1
    assert str(ratings) not in path.read_text()
    text = path.with_suffix(".md").read_text()
    assert "| factors + ordinal |" in text
    assert path.with_suffix(".png").exists()
    assert len(list((work / "runs").iterdir())) == 5 * (1 + 2)
    assert not any((work / "models").iterdir())
