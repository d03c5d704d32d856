"""What a run refuses before it begins, and that a refusal leaves nothing behind."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray.exceptions import NodeDiedError

from distributed_il.core.config import DataConfig, RunConfig, TrainConfig, config_to_dict
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import OrdinalConfig
from distributed_il.data.dataset import Dataset
from distributed_il.runtime import preflight
from distributed_il.runtime.data_checks import possible_workers
from distributed_il.runtime.launch import launch
from distributed_il.runtime.preflight import check_cluster, check_node, check_run
from distributed_il.runtime.worker import _train
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


class FakeRay:
    """A cluster of some nodes, each of which does something when it is asked; `here` is this process's."""

    def __init__(self, nodes: dict[str, Callable[[FakeRay, str], Any]], leaving: Sequence[str] = ()) -> None:
        self.behaviour, self.leaving, self.there = nodes, leaving, {"here", *nodes}
        self.asked, self.cancelled = list[str](), list[str]()

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "here")

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": node, "NodeManagerAddress": f"10.0.0.{node}", "Alive": True, "Resources": {"CPU": 1}}
            for node in sorted(self.there)
        ]

    def get_draining_nodes(self) -> dict[str, int]:
        return dict.fromkeys(self.leaving, 0)

    def remote(self, **_: Any) -> Any:
        def options(label_selector: dict[str, str]) -> Any:
            def ask(*_: Any) -> str:
                self.asked.append(label_selector["ray.io/node-id"])
                return f"{self.asked[-1]} {len(self.asked)}"

            return SimpleNamespace(remote=ask)

        return lambda _: SimpleNamespace(options=options)

    def wait(self, answers: list[str], timeout: float) -> tuple[list[str], list[str]]:
        arrived = [answer for answer in answers if self.behaviour[answer.split()[0]](self, answer) is not WAITING]
        return arrived, []

    def get(self, answer: str) -> Any:
        found = self.behaviour[answer.split()[0]](self, answer)
        if isinstance(found, Exception):
            raise found
        return found

    def cancel(self, answer: str, force: bool) -> None:
        self.cancelled.append(answer)


WAITING = object()
LOST = NodeDiedError("the node died")


def leaves(cluster: FakeRay, answer: str) -> Any:
    cluster.there.discard(answer.split()[0])
    return WAITING


def dies(cluster: FakeRay, answer: str) -> Any:
    cluster.there.discard(answer.split()[0])
    return LOST


def recovers(cluster: FakeRay, answer: str) -> Any:
    return LOST if cluster.asked.count(answer.split()[0]) < 3 else None


def is_fine(cluster: FakeRay, answer: str) -> None:
    return None


@pytest.fixture
def check(tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeRay], None]:
    def check(cluster: FakeRay) -> None:
        monkeypatch.setattr(preflight, "ray", cluster)
        monkeypatch.setattr(preflight, "cluster_state", cluster)
        check_cluster(config_of(tiny_dataset, tmp_path / "run"), tiny_dataset)

    return check


def test_nodes_that_leave_while_they_are_asked_are_left_out(check: Callable[[FakeRay], None]) -> None:
    cluster = FakeRay({"1": leaves, "2": dies, "3": is_fine, "4": recovers, "5": is_fine}, leaving=["5"])
    check(cluster)
    assert sorted(cluster.asked) == ["1", "2", "3", "4", "4", "4"]
    assert cluster.cancelled == ["1 1", "2 2"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("run.dir is another one", "node 10.0.0.1: run.dir is another one"),
        (LOST, "node 10.0.0.1: .* could not be checked .the node died.*the same packages and storage"),
        (WAITING, "node 10.0.0.1: .* were not checked within 45 s; see whether its storage answers"),
    ],
)
def test_a_node_that_stays_and_does_not_see_the_storage_is_named(
    answer: Any, said: str, check: Callable[[FakeRay], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0.0, 10.0)
    monkeypatch.setattr(preflight, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(UserError, match=said):
        check(FakeRay({"1": lambda *_: answer, "2": is_fine}))


def test_who_has_not_answered_is_not_waited_for_once_a_node_is_wrong(check: Callable[[FakeRay], None]) -> None:
    cluster = FakeRay({"1": lambda *_: "wrong", "2": lambda *_: WAITING})
    with pytest.raises(UserError, match="node 10.0.0.1: wrong"):
        check(cluster)
    assert cluster.cancelled == ["2 2"]


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


def test_a_worker_checks_the_storage_of_its_node_which_may_have_joined_later(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    config, nobody = config_of(tiny_dataset, tmp_path / "run"), cast("Any", None)
    other = "data.path .* holds another dataset than the driver sees"
    with claim_run(config.run.dir) as claim, pytest.raises(UserError, match=rf"^node [0-9.]+: {other}"):
        _train(config_to_dict(config), nobody, claim, "f" * 64)
    with pytest.raises(UserError, match=r"^node [0-9.]+: run.dir .* is not the directory that the driver sees"):
        _train(config_to_dict(config), nobody, claim, tiny_dataset.fingerprint)
