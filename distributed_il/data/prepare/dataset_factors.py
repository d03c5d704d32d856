"""The exposure factors that `prepare` is asked for: of a dataset that it builds, or of one that is there."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from distributed_il.core.documents import Count, fitted, read_signed, signed
from distributed_il.core.errors import UserError
from distributed_il.core.files import StagedDirectory, explain_full_disk, is_local, read_run_file, write_run_file
from distributed_il.core.progress import StageProgress
from distributed_il.data.dataset import Dataset, Manifest, StoredFactors
from distributed_il.data.prepare.config import PrepareConfig
from distributed_il.data.prepare.sources.read_stats import WatchTimes
from distributed_il.data.prepare.summary import dataset_summary, factors_summary

SUMMARY_JSON, SUMMARY_PAGE = "summary.json", "summary.html"
"""Summaries that lie beside a dataset."""
SummaryPage = Callable[[Mapping[str, Any]], str]
"""Turns what `dataset_summary` returns into an HTML page."""


class _WatchTime(TypedDict):
    from_s: list[float]
    negative: list[Count]
    unclear: list[Count]
    positive: list[Count]
    watches_without_duration: Count


class _Summary(TypedDict):
    """What is read of it again; a dataset of before exposure factors tells nothing of them."""

    watch_time: NotRequired[_WatchTime | None]
    factors: NotRequired[dict[str, Any]]


def parent_factors(config: PrepareConfig, parent: Dataset | None) -> StoredFactors | None:
    """Opens the factors that the new dataset takes over from the one that it goes on from.

    Args:
        config: What was asked for.
        parent: The dataset that is gone on from.

    Returns:
        The factors; None where there are none, or none are wanted.

    Raises:
        UserError: They are damaged, or other settings are asked for than theirs.
    """
    found = None if parent is None or config.factors == 0 else parent.factors()
    if found is None:
        return None
    for name, asked, before in (
        ("factors", config.factors, found.columns),
        ("factors_tau", config.factors_tau, found.manifest.tau),
    ):
        if asked is not None and asked != before:
            raise UserError(
                f"{name} is {asked}, and {config.append_to} has factors with {before}, whose basis stays; leave {name} "
                "away, and compute them anew afterwards by factors_only if you want others"
            )
    return found


def new_dataset_factors(
    config: PrepareConfig, dataset: Dataset, scratch: Path, parent: StoredFactors | None, progress: StageProgress
) -> dict[str, Any]:
    """Computes the factors of a dataset that has not appeared yet, if any are wanted and there is enough to see.

    Args:
        config: What was asked for.
        dataset: Where it stands while it is built.
        scratch: A local directory beside it.
        parent: Factors to go on from.
        progress: Told the stage.

    Returns:
        What the summary says of them.
    """
    if config.factors == 0:
        return factors_summary(None, "none were asked for")
    # It needs torch, which takes seconds to be imported.
    from distributed_il.data.prepare.build.exposure_factors import TooFewExposuresError, add_factors

    try:
        manifest = add_factors(
            dataset, scratch, columns=config.factors, tau=config.factors_tau, parent=parent, progress=progress
        )
    except TooFewExposuresError as error:
        return factors_summary(None, str(error))
    return factors_summary(manifest)


def add_factors_only(
    config: PrepareConfig, progress: StageProgress, *, summary_page: SummaryPage | None = None
) -> Manifest:
    """Computes the factors of a dataset that is there; nothing else about it changes but its summary.

    On a dataset that has grown, whose factors are folded in from an earlier basis or aligned to one, the new ones are
    aligned to these, and have as many columns and the same τ where nothing else is asked for.

    Args:
        config: `output` is the dataset.
        progress: Told the stage.
        summary_page: Draws the page beside the dataset; None to leave it as it is.

    Returns:
        The dataset's manifest, which is as it was.

    Raises:
        UserError: There is no dataset, its log is too small, or the disk is full; it is left as it was.
    """
    from distributed_il.data.prepare.build.exposure_factors import TooFewExposuresError, add_factors

    dataset = Dataset.open(config.output)
    earlier, columns, tau = _earlier(config, dataset), config.factors, config.factors_tau
    if earlier is not None:
        columns, tau = earlier.columns, earlier.manifest.tau if tau is None else tau
    with explain_full_disk(config.output, "the dataset is as it was"), _scratch(dataset) as scratch:
        try:
            found = add_factors(dataset, scratch, columns=columns, tau=tau, earlier=earlier, progress=progress)
        except TooFewExposuresError as error:
            raise UserError(f"{config.output}: {error}") from error
    facts = _summary(dataset) | {"factors": factors_summary(found)}
    write_run_file(config.output, SUMMARY_JSON, json.dumps(signed(facts), indent=2) + "\n")
    if summary_page is not None:
        write_run_file(config.output, SUMMARY_PAGE, summary_page(facts))
    return dataset.manifest


def simulated_dataset_factors(path: str, progress: StageProgress, *, store: bool) -> dict[str, Any]:
    """Computes the factors of a simulated dataset, and stores them if that is wanted.

    Args:
        path: The dataset.
        progress: Told the stage.
        store: False to leave the dataset as it is.

    Returns:
        What a summary says of them.

    Raises:
        UserError: The disk is full; the dataset is as it was.
    """
    from distributed_il.data.prepare.build.exposure_factors import TooFewExposuresError, add_factors

    dataset = Dataset.open(path)
    with explain_full_disk(path, "the dataset is as it was"), _scratch(dataset) as scratch:
        try:
            return factors_summary(add_factors(dataset, scratch, store=store, progress=progress))
        except TooFewExposuresError as error:
            return factors_summary(None, str(error))


def _earlier(config: PrepareConfig, dataset: Dataset) -> StoredFactors | None:
    """Returns the factors that new ones are aligned to; None where these will have a basis of their own."""
    try:
        found = dataset.factors(whole=False)
    except UserError:
        return None  # what they were can't be told, and the new ones take their place
    if found is None or not found.manifest.basis or config.factors not in (None, found.columns):
        return None
    return found


@contextmanager
def _scratch(dataset: Dataset) -> Generator[Path]:
    """A directory for temporary files that goes away, on the dataset's own disk where that is local."""
    if not is_local(dataset.filesystem):
        with tempfile.TemporaryDirectory(prefix="distributed-il-") as directory:
            yield Path(directory)
        return
    staging = StagedDirectory(f"{dataset.root}/new_factors")
    try:
        yield staging.scratch
    finally:
        staging.discard()


def _summary(dataset: Dataset) -> dict[str, Any]:
    """The summary of a dataset made anew, but for the watch times, which only its source told."""
    activity = dataset.activity()
    facts = dataset_summary(dataset, activity.user_rows, activity.item_rows, WatchTimes())
    return facts | {"watch_time": (read_summary(dataset.path) or {}).get("watch_time")}


def read_summary(path: str) -> dict[str, Any] | None:
    """Reads the summary beside a dataset; None where there is none.

    Raises:
        UserError: It is damaged.
    """
    text, cure = read_run_file(path, SUMMARY_JSON), "remove it: the dataset is whole without it"
    place = f"{path}/{SUMMARY_JSON}"
    return None if text is None else dict(fitted(read_signed(text, place, cure), _Summary, place, cure))
