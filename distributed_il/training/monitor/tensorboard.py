"""TensorBoard event files, written by rank 0; on an object store whole files are brought over at each flush.

TensorBoard's own writers reach object stores through libraries that need not be there, and append to what can't be
appended to. So the files grow in a local directory, and each flush and the end replaces the copies in the store. What a
process wrote since its last flush is lost with it, as it would be in any buffer; a run flushes before each checkpoint.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from tempfile import TemporaryDirectory
from typing import Any, Concatenate, ParamSpec, Protocol

import numpy as np
from numpy.typing import NDArray
from pyarrow.fs import FileType, copy_files
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.scalar.metadata import create_summary_metadata
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams as hparams_summary
from torch.utils.tensorboard.summary import scalar as scalar_summary

from distributed_il.core.files import RESUMABLE, explain_full_disk, filesystem, is_local
from distributed_il.training.monitor.curves import description

P = ParamSpec("P")
_FOLDER_OF_BEFORE = "tensorboard"
_FIRST_SETTINGS = ("optimizer.learning_rate", "model.backbone", "method.name")
"""Of the table of HParams."""


def event_dir(run_dir: str) -> str:
    """Returns where a run's event files lie: in its directory, which thus gives the run its name in TensorBoard.

    A run whose files lie in a folder of their own, as they did before, goes on there.
    """
    fs, root = filesystem(run_dir)
    before = fs.get_file_info(f"{root}/{_FOLDER_OF_BEFORE}").type == FileType.Directory
    return f"{run_dir}/{_FOLDER_OF_BEFORE}" if before else run_dir


class Monitor(Protocol):
    """Where a run's numbers and pictures go; nowhere, unless a method is overridden."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Writes numbers under their tags; numbers that are not finite are left out."""

    def histogram(self, tag: str, counts: NDArray[np.int64], edges: NDArray[np.float64], step: int) -> None:
        """Writes counts [n] of the bins between edges [n + 1]."""

    def image(self, tag: str, picture: NDArray[np.uint8], step: int) -> None:
        """Writes a picture, RGB uint8 [height, width, 3]."""

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Writes Markdown."""

    def hparams(self, config: Mapping[str, Any], metrics: Mapping[str, float], step: int) -> None:
        """Writes a flat config for the HParams page, which shows final metrics, curves of this run, beside it."""

    def flush(self) -> None:
        """Hands everything to the files."""


class NullMonitor(Monitor):
    """Writes nothing: the monitor of every rank but 0."""

    def __enter__(self) -> NullMonitor:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _explaining_full_disk(
    method: Callable[Concatenate[TensorBoardMonitor, P], None],
) -> Callable[Concatenate[TensorBoardMonitor, P], None]:
    """Wraps a method: TensorBoard's writing thread may raise the error of a full disk from any later call."""

    @functools.wraps(method)
    def guarded(self: TensorBoardMonitor, /, *arguments: P.args, **named: P.kwargs) -> None:
        with explain_full_disk(self.log_dir, RESUMABLE):
            method(self, *arguments, **named)

    return guarded


class TensorBoardMonitor:
    """Writes event files; a context manager that closes them. Each method may raise the `UserError` of a full disk."""

    def __init__(self, log_dir: str, *, purge_step: int | None) -> None:
        """Opens the files.

        Args:
            log_dir: Directory or pyarrow URI.
            purge_step: First step that this process will write: what an earlier one wrote from there on is hidden, so
                that a resumed run shows no step twice. None for a new run.
        """
        self.log_dir = log_dir
        self._fs, self._root = filesystem(log_dir)
        self._aside: TemporaryDirectory[str] | None = None
        if not is_local(self._fs):
            self._aside = TemporaryDirectory(prefix="distributed-il-tensorboard-")
        with explain_full_disk(log_dir, RESUMABLE):
            place = self._root if self._aside is None else self._aside.name
            self._writer = SummaryWriter(place, purge_step=purge_step)
        self._described: set[str] = set()

    def __enter__(self) -> TensorBoardMonitor:
        return self

    @_explaining_full_disk
    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._bring_over()
        if self._aside is not None:
            self._aside.cleanup()

    @_explaining_full_disk
    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Writes numbers; with the first one of each tag, what it means."""
        for tag, value in values.items():
            if math.isfinite(value):
                summary = scalar_summary(tag, value)
                if tag not in self._described:
                    self._described.add(tag)
                    summary.value[0].metadata.CopyFrom(create_summary_metadata("", description(tag)))
                self._add(summary, step)

    @_explaining_full_disk
    def histogram(self, tag: str, counts: NDArray[np.int64], edges: NDArray[np.float64], step: int) -> None:
        """Writes counts; the sums that TensorBoard wants are taken at the bins' centres."""
        filled = np.flatnonzero(counts)
        centres = (edges[:-1] + edges[1:]) / 2
        self._writer.add_histogram_raw(
            tag,
            min=float(edges[filled[0]]) if filled.size else 0.0,
            max=float(edges[filled[-1] + 1]) if filled.size else 0.0,
            num=int(counts.sum()),
            sum=float(counts @ centres),
            sum_squares=float(counts @ centres**2),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
            global_step=step,
        )

    @_explaining_full_disk
    def image(self, tag: str, picture: NDArray[np.uint8], step: int) -> None:
        self._writer.add_image(tag, picture, step, dataformats="HWC")

    @_explaining_full_disk
    def text(self, tag: str, markdown: str, step: int) -> None:
        self._writer.add_text(tag, markdown, step)

    @_explaining_full_disk
    def hparams(self, config: Mapping[str, Any], metrics: Mapping[str, float], step: int) -> None:
        """Writes to this run's own files, where `add_hparams` would open a run beside it."""
        kinds = bool | int | float | str
        known = {key: value if isinstance(value, kinds) else str(value) for key, value in config.items()}
        finite = {tag: value for tag, value in metrics.items() if math.isfinite(value)}
        experiment, *session = hparams_summary(known, finite)
        plugin_data = experiment.value[0].metadata.plugin_data
        page = HParamsPluginData.FromString(plugin_data.content)
        for info in page.experiment.hparam_infos:
            info.differs = info.name in _FIRST_SETTINGS  # all others come behind those, by name
        plugin_data.content = page.SerializeToString()
        for summary in (experiment, *session):
            self._add(summary, step)

    @_explaining_full_disk
    def flush(self) -> None:
        self._writer.flush()
        self._bring_over()

    def _add(self, summary: Any, step: int) -> None:
        self._writer._get_file_writer().add_summary(summary, step)  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]

    def _bring_over(self) -> None:
        """Replaces the copies in the store; their names tell processes apart, so that none is another's."""
        if self._aside is not None:
            copy_files(self._aside.name, self._root, destination_filesystem=self._fs)
