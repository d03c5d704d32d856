"""What a run refuses before it begins, and that a refusal leaves nothing behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from distributed_il.core.config import DataConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import OrdinalConfig
from distributed_il.data.dataset import Dataset
from distributed_il.runtime.launch import launch
from distributed_il.runtime.preflight import check_node, check_run, possible_workers
from distributed_il.training.run_claim import claim_run

MakeDataset = Callable[..., Dataset]


def config_of(dataset: Dataset, run_dir: Path, *, workers: int = 2) -> TrainConfig:
    return TrainConfig(data=DataConfig(path=dataset.path), run=RunConfig(dir=str(run_dir), workers=workers))


def test_a_sound_run_is_given_its_dataset_and_leaves_no_probe(tiny_dataset: Dataset, tmp_path: Path) -> None:
    found = check_run(config_of(tiny_dataset, tmp_path / "run"))
    assert found.fingerprint == tiny_dataset.fingerprint
    assert list((tmp_path / "run").iterdir()) == []


def test_a_directory_in_which_another_run_trains_is_refused_before_ray_starts(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    with claim_run(str(tmp_path / "run")), pytest.raises(UserError, match="in use by process"):
        launch(config_of(tiny_dataset, tmp_path / "run"))
    assert list((tmp_path / "run").iterdir()) == []


def test_a_missing_dataset_is_named(tiny_dataset: Dataset, tmp_path: Path) -> None:
    config = dataclasses.replace(config_of(tiny_dataset, tmp_path / "run"), data=DataConfig(path=str(tmp_path / "no")))
    with pytest.raises(UserError, match="distributed-il prepare"):
        check_run(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("workers", "nearest"), [(5, "4 and 6"), (7, "6 and 8"), (13, "12 and 24"), (25, "24$"), (100, "24$")]
)
def test_workers_that_do_not_divide_the_lanes_are_told_which_do(
    tiny_dataset: Dataset, tmp_path: Path, workers: int, nearest: str
) -> None:
    with pytest.raises(UserError, match=f"24 lanes; .* {nearest}"):
        check_run(config_of(tiny_dataset, tmp_path / "run", workers=workers))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("workers", "batch_size", "fitting"),
    [(12, 8, [1, 2, 3, 4, 6, 8, 12]), (12, 1, [1, 2, 3, 4, 6, 12]), (2, 7, [1, 2])],
)
def test_fewer_workers_are_those_that_divide_lanes_and_global_batch(
    tiny_dataset: Dataset, workers: int, batch_size: int, fitting: list[int]
) -> None:
    run = RunConfig(dir="run", workers=workers, batch_size=batch_size, min_workers=1)
    assert possible_workers(run, tiny_dataset) == fitting


def test_fewest_workers_that_divide_neither_are_told_which_do(tiny_dataset: Dataset, tmp_path: Path) -> None:
    run = RunConfig(dir=str(tmp_path / "run"), workers=12, batch_size=1, min_workers=8)
    with pytest.raises(UserError, match=r"min_workers is 8, .* 24 lanes and .* of 12 rows .* do: 1, 2, 3, 4, 6, 12$"):
        check_run(TrainConfig(data=DataConfig(path=tiny_dataset.path), run=run))
    assert not (tmp_path / "run").exists()


def test_a_run_that_names_no_fewest_workers_has_one_number(tiny_dataset: Dataset) -> None:
    assert possible_workers(RunConfig(dir="run", workers=6), tiny_dataset) == [6]


def test_logged_pairs_that_the_dataset_lacks_are_refused(make_dataset: MakeDataset, tmp_path: Path) -> None:
    config = config_of(make_dataset(unclear=0), tmp_path / "run")
    with pytest.raises(UserError, match="draws logged unclear pairs, and the dataset has none; .* another method.name"):
        check_run(dataclasses.replace(config, method=OrdinalConfig()))
    assert not (tmp_path / "run").exists()


def test_fewer_rows_than_workers_are_refused(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(train=40, valid=3, test=40, unclear=0)
    with pytest.raises(UserError, match=r"split valid has 3 rows, fewer than run.workers \(4\)"):
        check_run(config_of(dataset, tmp_path / "run", workers=4))


def test_a_file_in_place_of_the_run_is_refused(tiny_dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        check_run(config_of(tiny_dataset, tmp_path / "run"))
    assert (tmp_path / "run").read_text() == "mine"


def test_somebody_elses_directory_is_refused_and_left_alone(tiny_dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"holds no run, but thesis\.tex"):
        check_run(config_of(tiny_dataset, tmp_path / "run"))
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("left", ["config.yaml", "ray", "checkpoints"])
def test_the_directory_of_an_interrupted_run_is_welcome(tiny_dataset: Dataset, tmp_path: Path, left: str) -> None:
    (tmp_path / "run" / left).mkdir(parents=True)
    check_run(config_of(tiny_dataset, tmp_path / "run"))


def test_a_run_may_live_beside_its_data(tiny_dataset: Dataset) -> None:
    check_run(config_of(tiny_dataset, Path(tiny_dataset.path)))


def test_a_place_that_cannot_be_written_is_refused(tiny_dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't be written"):
        check_run(config_of(tiny_dataset, tmp_path / "file" / "run"))


def test_a_jobs_own_copy_of_its_working_directory_is_no_place_for_a_run(tiny_dataset: Dataset) -> None:
    place = Path("/tmp/ray/session/runtime_resources/working_dir_files/_ray_pkg_0/runs/a")
    with pytest.raises(UserError, match="does not outlive the job; give the full path"):
        check_run(config_of(tiny_dataset, place))


def test_a_node_that_sees_what_the_driver_sees_has_no_complaint_and_leaves_nothing(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "probe").touch()
    assert check_node(str(tmp_path), "probe", tiny_dataset.path, tiny_dataset.fingerprint) is None
    assert {entry.name for entry in tmp_path.iterdir()} == {"probe", "dataset"}


def test_a_node_that_sees_another_directory_or_dataset_says_which(make_dataset: MakeDataset, tmp_path: Path) -> None:
    ours, other = make_dataset("ours"), make_dataset("other", seed=1)
    (tmp_path / "probe").touch()
    place = str(tmp_path)
    assert "is not the directory that the driver sees" in str(check_node(place, "none", ours.path, ours.fingerprint))
    assert "is not the directory that the driver sees" in str(
        check_node(f"{place}/no", "none", ours.path, ours.fingerprint)
    )
    assert "another dataset than the driver sees" in str(check_node(place, "probe", other.path, ours.fingerprint))
    assert "(the driver sees it;" in str(check_node(place, "probe", f"{place}/absent", ours.fingerprint))
