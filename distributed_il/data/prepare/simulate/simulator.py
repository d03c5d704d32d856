"""Simulates the logs of a micro-video platform as a prepared dataset, with the truth behind every watch beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.counter_rng import SHUFFLE
from distributed_il.core.errors import UserError, require_seed
from distributed_il.core.progress import StageProgress
from distributed_il.data.dataset import DatasetWriter, Manifest
from distributed_il.data.prepare.dataset_factors import simulated_dataset_factors
from distributed_il.data.prepare.simulate.drawing import draw_log
from distributed_il.data.prepare.simulate.randomness import generator
from distributed_il.data.prepare.simulate.splits import split_rows
from distributed_il.data.prepare.simulate.watch_log import LogSize, WatchLog
from distributed_il.data.prepare.simulate.watches import LONG_VIEW_MS, SHORT_PLAY_MS, UNCLEAR

PRESETS = {
    "demo": LogSize(users=2_000, items=3_000, positives=156_000, negatives=144_000, unclear=150_000),
    "micro-video": LogSize(users=37_692, items=131_690, positives=4_915_745, negatives=4_546_747, unclear=4_700_000),
}
"""`micro-video`: the numbers of the paper's Table 1, and half as many unclear watches again, for which the paper
gives none. `demo`: a log that a laptop simulates in seconds and learns in a minute."""
MAX_FILL = 0.25
"""Share of all pairs that may be watched: a user's items are all different, and the popular ones must suffice."""
_ROWS_AT_ONCE = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulateConfig:
    """What to simulate, and where to."""

    output: str
    """Directory (or pyarrow URI) of the dataset; it must not exist, or be empty."""
    preset: Literal["demo", "micro-video"] = "demo"
    """Sizes, each of which the options below replace: `micro-video` is the paper's Table 1, `demo` a small log."""
    num_users: int | None = None
    """Users, each with a labelled training row at least."""
    num_items: int | None = None
    """Items, likewise."""
    num_positives: int | None = None
    """Watches with label 1 over all splits: complete plays and long views."""
    num_negatives: int | None = None
    """Watches with label 0: quick skips."""
    num_unclear: int | None = None
    """Watches without a label: all that lies between."""
    policy_strength: float = 0.0
    """Taste of the logging policy, 0 or above. 0: items are shown by popularity alone, whatever their users like.
    Above: a policy that knows part of what people like, anew every day, chooses among eight popular candidates c with
    probabilities ∝ exp(strength · estimated logit of c). Then users and items go on arriving over 14 days (column
    `day`), watch time follows interest, so that unclear means lukewarm, one unclear watch in five is a clear one that
    was broken off, and exposure factors are stored as by `prepare`."""
    seed: int = 0
    """Decides everything; the same seed gives the same dataset."""
    lanes: int = 24
    """Lanes that rows are dealt to; every number of workers that trains on the dataset has to divide it."""
    row_group_rows: int = 65_536
    """Rows of a Parquet row group."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UserError(f"preset is {self.preset!r}; it must be one of {', '.join(PRESETS)}")
        if not 0 <= self.policy_strength < math.inf:
            raise UserError(f"policy_strength is {self.policy_strength}; it must be a number of 0 or above")
        require_seed("seed", self.seed)
        _check_size(self.size)

    @property
    def size(self) -> LogSize:
        """The preset's numbers, replaced by those that were given."""
        preset = PRESETS[self.preset]

        def given(value: int | None, default: int) -> int:
            return default if value is None else value

        return LogSize(
            users=given(self.num_users, preset.users),
            items=given(self.num_items, preset.items),
            positives=given(self.num_positives, preset.positives),
            negatives=given(self.num_negatives, preset.negatives),
            unclear=given(self.num_unclear, preset.unclear),
        )


@dataclass(frozen=True, slots=True)
class Simulation:
    """What was simulated.

    Attributes:
        path: Of the dataset.
        manifest: Of the dataset.
        factors: What a summary says of the exposure factors stored with it; None where none are.
        train: Its training rows, with the truth behind them.
        test: Its test rows, likewise.
        size: Of the whole log.
    """

    path: str
    manifest: Manifest
    factors: dict[str, Any] | None
    train: WatchLog
    test: WatchLog
    size: LogSize


def simulate(config: SimulateConfig, progress: StageProgress | None = None) -> Simulation:
    """Draws users, items and watches, and writes them as a dataset.

    Columns beside the usual ones, never read by training: `preference` float32, the true probability π(u, i) that the
    user likes the item; `play_duration_ms` and `duration_ms` int32, and with a policy of taste `day` int32, from 0.

    Raises:
        UserError: The output is taken, or the disk is full.
    """
    size = config.size
    # The writer refuses a place that is taken, so it comes before minutes of work.
    with DatasetWriter(
        config.output,
        name=f"simulated-{config.preset}" + (f"-policy-{config.policy_strength:g}" if config.policy_strength else ""),
        rule=_rule(config.policy_strength),
        seed=config.seed,
        lanes=config.lanes,
        row_group_rows=config.row_group_rows,
    ) as writer:
        advance = _counter(progress, "simulate", size.rows)
        log = draw_log(size, seed=config.seed, strength=config.policy_strength, advance=advance)
        splits = _shuffled_splits(log, size, config.seed)
        advance = _counter(progress, "write", size.rows)
        for split, rows in splits.items():
            for part in _parts(rows):
                writer.append(split, _table(log.take(part), labelled=split != "unclear"))
                advance(len(part))
            writer.finish_split(split)
        # The log is in order of user and item, so sorted row numbers are sorted pairs.
        _write_index(writer, "observed", log, np.sort(splits["train"]), size.users)
        if "unclear" in splits:
            _write_index(writer, "logged", log, np.sort(splits["unclear"]), size.users)
        manifest = writer.finish(
            users=pa.array(np.arange(1, size.users + 1)),
            items=pa.array(np.arange(1, size.items + 1)),
            counts={"positives": size.positives, "negatives": size.negatives, "unclear": size.unclear},
        )
    train, test = log.take(splits["train"]), log.take(splits["test"])
    del log
    factors = None
    if config.policy_strength:
        factors = simulated_dataset_factors(config.output, progress or (lambda stage, done, total: None), store=True)
    return Simulation(config.output, manifest, factors, train, test, size)


def _check_size(size: LogSize) -> None:
    if min(size.users, size.items) < 1 or size.unclear < 0:
        raise UserError(f"num_users and num_items must be at least 1, and num_unclear at least 0, not {size}")
    least = size.users + size.items
    for name, rows in (("num_positives", size.positives), ("num_negatives", size.negatives)):
        if rows < least:
            raise UserError(
                f"{name} is {rows:,}; it must be at least num_users + num_items = {least:,}, "
                "so that every user and item gets a labelled watch"
            )
    most = int(MAX_FILL * size.users * size.items)
    if size.rows > most:
        raise UserError(
            f"{size.rows:,} watches of {size.users:,} users and {size.items:,} items: nobody watches an item twice, so "
            f"that at most {most:,} fit (a quarter of all pairs); take more users or items, or fewer watches"
        )


def _rule(strength: float) -> dict[str, Any]:
    rule = {
        "name": "kuaishou",
        "simulated": True,
        "positive": f"play >= min({LONG_VIEW_MS} ms, duration)",
        "negative": f"play < min({SHORT_PLAY_MS} ms, duration)",
    }
    return rule | {"policy_strength": strength} if strength else rule


def _counter(progress: StageProgress | None, stage: str, total: int) -> Callable[[int], None]:
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done = min(done + rows, total)  # a few more watches are drawn than kept
        if progress is not None:
            progress(stage, done, total)

    return advance


def _shuffled_splits(log: WatchLog, size: LogSize, seed: int) -> dict[str, NDArray[np.int64]]:
    """Row numbers of each split in their final order."""
    rng = generator(seed, SHUFFLE)
    labelled = rng.permutation(np.flatnonzero(log.labels != UNCLEAR))
    unclear = rng.permutation(np.flatnonzero(log.labels == UNCLEAR))
    splits = split_rows(labelled, log.users, log.items, num_users=size.users, num_items=size.items)
    return {**splits, "unclear": unclear} if len(unclear) else splits


def _parts(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield rows[start : start + _ROWS_AT_ONCE]


def _table(rows: WatchLog, *, labelled: bool) -> pa.Table:
    label = {"label": rows.labels} if labelled else {}
    return pa.table(
        {
            "user_id": rows.users,
            "item_id": rows.items,
            **label,
            "preference": rows.preferences,
            "play_duration_ms": rows.play_ms,
            "duration_ms": rows.duration_ms,
            **({} if rows.days is None else {"day": rows.days}),
        }
    )


def _write_index(writer: DatasetWriter, index: str, log: WatchLog, rows: NDArray[np.int64], num_users: int) -> None:
    writer.write_index(index, ((log.users[part], log.items[part]) for part in _parts(rows)), num_users)
