"""Event files, read back by TensorBoard's own reader."""

from __future__ import annotations

import io
import math
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.util import tensor_util

from distributed_il.core.errors import UserError
from distributed_il.training.monitor import NullMonitor, TensorBoardMonitor, WeightHistogram, event_dir


def read(log_dir: Path) -> EventAccumulator:
    # 0 keeps every event of a kind, where the reader would otherwise draw a sample.
    kinds = ("scalars", "histograms", "compressedHistograms", "images", "tensors")
    return EventAccumulator(str(log_dir), size_guidance=dict.fromkeys(kinds, 0)).Reload()


def points(events: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_scalars(tmp_path: Path) -> None:
    with TensorBoardMonitor(str(tmp_path), purge_step=None) as monitor:
        monitor.scalars({"train/loss": 0.75, "valid/auc": 0.5}, 10)
        monitor.scalars({"train/loss": 0.25}, 20)
    events = read(tmp_path)
    assert sorted(events.Tags()["scalars"]) == ["train/loss", "valid/auc"]
    assert points(events, "train/loss") == [(10, 0.75), (20, 0.25)]
    assert points(events, "valid/auc") == [(10, 0.5)]


def test_numbers_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    with TensorBoardMonitor(str(tmp_path), purge_step=None) as monitor:
        monitor.scalars({"train/loss": math.nan, "valid/auc": 0.5, "best": math.inf}, 1)
        monitor.scalars({"train/loss": 0.5, "best": -math.inf}, 2)
    events = read(tmp_path)
    assert sorted(events.Tags()["scalars"]) == ["train/loss", "valid/auc"]
    assert points(events, "train/loss") == [(2, 0.5)]


def test_a_resumed_run_hides_what_the_killed_one_wrote(tmp_path: Path) -> None:
    # The first process saved a checkpoint at step 2 and was killed after writing step 4: never closed, only flushed.
    killed = TensorBoardMonitor(str(tmp_path), purge_step=0)
    for step in (1, 2, 3, 4):
        killed.scalars({"train/loss": step}, step)
    killed.flush()
    # Readers take files in the order of their names, which begin with the second they were made in: both are of one.
    [file] = tmp_path.iterdir()
    file.rename(tmp_path / "events.out.tfevents.0000000001.killed")
    with TensorBoardMonitor(str(tmp_path), purge_step=3) as resumed:
        for step in (3, 4, 5):
            resumed.scalars({"train/loss": 10 * step}, step)
    killed._writer.close()
    assert points(read(tmp_path), "train/loss") == [(1, 1), (2, 2), (3, 30), (4, 40), (5, 50)]


def test_without_a_purge_step_nothing_is_hidden(tmp_path: Path) -> None:
    # The counterpart of the test above: it is purge_step that hides, not the reader.
    for value in (1.0, 2.0):
        with TensorBoardMonitor(str(tmp_path), purge_step=None) as monitor:
            monitor.scalars({"train/loss": value}, 7)
    assert sorted(points(read(tmp_path), "train/loss")) == [(7, 1.0), (7, 2.0)]


def test_histogram_sums_by_hand(tmp_path: Path) -> None:
    # Edges 0 ¼ ½ ¾ 1, centres ⅛ ⅜ ⅝ ⅞, counts 0 3 1 0: 4 in all between ¼ and ¾,
    # sum 3·⅜ + ⅝ = 14/8 = 1.75, squares 3·9/64 + 25/64 = 52/64 = 0.8125.
    with TensorBoardMonitor(str(tmp_path), purge_step=None) as monitor:
        monitor.histogram("weights/w1", np.array([0, 3, 1, 0]), np.linspace(0, 1, 5), 9)
    [event] = read(tmp_path).Histograms("weights/w1")
    found = event.histogram_value
    assert event.step == 9
    assert (found.num, found.min, found.max) == (4, 0.25, 0.75)
    assert (found.sum, found.sum_squares) == (1.75, 0.8125)
    counted = {limit: count for limit, count in zip(found.bucket_limit, found.bucket, strict=True) if count}
    assert counted == {0.5: 3, 0.75: 1}


def test_weights_of_a_round_keep_their_bins(tmp_path: Path) -> None:
    weights = WeightHistogram()
    weights.add(np.random.default_rng(0).beta(0.5, 2, 4000))
    with TensorBoardMonitor(str(tmp_path), purge_step=None) as monitor:
        monitor.histogram("weights/w1", weights.counts, weights.edges, 1)
    found = read(tmp_path).Histograms("weights/w1")[0].histogram_value
    counted = dict(zip(found.bucket_limit, found.bucket, strict=True))
    assert sum(counted.values()) == found.num == 4000
    for limit, count in zip(weights.edges[1:], weights.counts, strict=True):
        assert counted.get(float(limit), 0) == count


def test_an_empty_histogram_can_be_written(tmp_path: Path) -> None:
    weights = WeightHistogram()
    with TensorBoardMonitor(str(tmp_path), purge_step=None) as monitor:
        monitor.histogram("weights/w1", weights.counts, weights.edges, 1)
    assert read(tmp_path).Histograms("weights/w1")[0].histogram_value.num == 0


def test_a_picture_comes_back_pixel_for_pixel(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    with TensorBoardMonitor(str(tmp_path), purge_step=None) as monitor:
        monitor.image("decisions/test_loss", picture, 4)
    [event] = read(tmp_path).Images("decisions/test_loss")
    assert (event.step, event.height, event.width) == (4, 20, 30)
    found = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB"))
    np.testing.assert_array_equal(found, picture)


def test_text(tmp_path: Path) -> None:
    with TensorBoardMonitor(str(tmp_path), purge_step=None) as monitor:
        monitor.text("config", "```yaml\nlearning_rate: 0.001\n```", 0)
    [event] = read(tmp_path).Tensors("config/text_summary")
    assert tensor_util.make_ndarray(event.tensor_proto).tolist() == [b"```yaml\nlearning_rate: 0.001\n```"]


def test_hparams_lie_in_the_run_itself(tmp_path: Path) -> None:
    settings = {"method.name": "ig", "run.seed": 3, "learning_rate": 0.5, "run.use_gpu": False, "tags": ("a", "b")}
    with TensorBoardMonitor(str(tmp_path), purge_step=None) as monitor:
        monitor.hparams(settings, {"test/auc": 0.75, "test/ece": math.nan}, 8)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
    events = read(tmp_path)
    start = metadata.parse_session_start_info_plugin_data(
        events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    )
    found = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    assert found == {
        "method.name": "ig",
        "run.seed": 3.0,
        "learning_rate": 0.5,
        "run.use_gpu": False,
        "tags": "('a', 'b')",
    }
    experiment = metadata.parse_experiment_plugin_data(
        events.SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    )
    assert [info.name.tag for info in experiment.metric_infos] == ["test/auc"]
    assert events.Tags()["scalars"] == []  # the page shows the curve of that name


def test_the_first_of_a_curve_says_what_it_means(tmp_path: Path) -> None:
    with TensorBoardMonitor(str(tmp_path), purge_step=None) as monitor:
        for step in (1, 2):
            monitor.scalars({"decisions/skip": 0.5, "own": 0.5}, step)
    events = read(tmp_path)
    assert events.SummaryMetadata("decisions/skip").summary_description == (
        "Share of all inverse steps so far that left the update out."
    )
    assert events.SummaryMetadata("own").summary_description == ""
    assert points(events, "decisions/skip") == [(1, 0.5), (2, 0.5)]


def test_event_files_lie_in_the_run_but_those_of_before_in_their_folder(tmp_path: Path) -> None:
    assert event_dir(str(tmp_path / "run")) == str(tmp_path / "run")
    (tmp_path / "old" / "tensorboard").mkdir(parents=True)
    assert event_dir(str(tmp_path / "old")) == str(tmp_path / "old" / "tensorboard")


def test_flush_hands_all_to_the_files(tmp_path: Path) -> None:
    with TensorBoardMonitor(str(tmp_path), purge_step=None) as monitor:
        monitor.scalars({"train/loss": 0.5}, 1)
        monitor.flush()
        assert points(read(tmp_path), "train/loss") == [(1, 0.5)]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel refuses longer ones to this process, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# The thread that writes dies of the error, and TensorBoard hands it to whoever calls next.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("size", [0, 1000])
def test_a_full_disk_is_told_with_its_cure(size: int, tmp_path: Path) -> None:
    told = pytest.raises(UserError, match=rf"{tmp_path}: the disk .*make room there")
    others = set(threading.enumerate())
    with files_of_at_most(size), told as caught, TensorBoardMonitor(str(tmp_path), purge_step=None) as monitor:
        for step in range(1000):
            monitor.scalars({"train/loss": 0.5}, step)
        monitor.flush()
    assert "the same command goes on from the run's last checkpoint" in str(caught.value)
    for thread in set(threading.enumerate()) - others:
        thread.join(timeout=10)  # so that it dies in this test, not in the next one


def test_the_monitor_of_other_ranks_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with NullMonitor() as monitor:
        monitor.scalars({"train/loss": 0.5}, 1)
        monitor.histogram("weights/w1", np.array([1]), np.array([0.0, 1.0]), 1)
        monitor.image("image", np.zeros((2, 2, 3), dtype=np.uint8), 1)
        monitor.text("config", "text", 1)
        monitor.hparams({"a": 1}, {"b": 2.0}, 0)
        monitor.flush()
    assert list(tmp_path.iterdir()) == []
