"""Scores and annotates pairs and recommends items with a trained model, each as a Ray Data job over sharded input."""

from __future__ import annotations

from distributed_il.runtime.session import ray_session  # isort: skip  # before Ray
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
import ray.data

from distributed_il.core.errors import UserError
from distributed_il.core.own_code import code_path, find_own_code
from distributed_il.core.progress import StageProgress
from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.id_files.pair_files import find_pairs
from distributed_il.inference.config import AnnotateConfig, PairsConfig, RecommendConfig, ScoreConfig, SimilarConfig
from distributed_il.inference.log_columns import ITEM, USER, log_names
from distributed_il.inference.model import load_served_model
from distributed_il.inference.pair_results import PairResults
from distributed_il.inference.pair_sources import GivenPairs, PairSource, SplitPairs
from distributed_il.inference.recommendation_work import recommendations_of
from distributed_il.inference.recommendations import read_asked
from distributed_il.inference.result_parts import ResultParts, Work
from distributed_il.inference.similar import Similarities
from distributed_il.runtime.ray_data import quiet_execution

Say = Callable[[str], None]
"""Told a line for the user."""
_COUNTS, _REFUSED = "counts", "refused"


def run_work(work: Work, output: str, *, workers: int | None, on_progress: StageProgress) -> dict[str, int]:
    """Makes a result; returns its rows, and those of the model and of each fallback.

    The model is handed to Ray once: the processes of a machine share one copy of it in memory. Beside it, each holds
    the rows that it works on. A part that is there already is not made again. `output`, a local path or a pyarrow URI,
    must be seen by all nodes; `workers` make parts in parallel, each on one CPU, None for as many as Ray has CPUs.

    Raises:
        UserError: The output is taken or not on shared storage, or a part's input can't be read.
    """
    parts, number = ResultParts.open(output, work.made_from), len(work.rows)
    finished = parts.finished(number)
    counts = sum(finished.values(), Counter[str]())
    total = sum(work.rows) if all(work.rows) else 0
    todo = [part for part in range(number) if part not in finished]
    if todo:
        with ray_session(cpus=workers or 1, shared_bytes=work.nbytes):
            on_progress(work.made_from["result"], counts["rows"], total)
            for made in _made(work, parts, todo, workers):
                counts.update(made)
                on_progress(work.made_from["result"], counts["rows"], total)
        missing = number - len(parts.finished(number))
        if missing:
            raise UserError(
                f"{output}: {missing} of {number} parts are not there: nodes have written to storage of their own; "
                "give an output on storage that all nodes share"
            )
    parts.finish(number, counts)
    return dict(counts)


def _made(work: Work, parts: ResultParts, todo: Sequence[int], workers: int | None) -> Iterator[dict[str, int]]:
    """Yields the counts of each part, as it is done."""
    shared, own_code = ray.put(work), code_path() is not None

    def make(row: dict[str, Any]) -> dict[str, Any]:
        if own_code:
            find_own_code()  # of which the model may be made
        here: Work = ray.get(shared)
        part = todo[row["id"]]
        try:
            return {_COUNTS: json.dumps(parts.write(part, here.schema, here.tables(part))), _REFUSED: ""}
        except UserError as error:
            return {_COUNTS: "{}", _REFUSED: str(error)}

    at_once = ray.data.TaskPoolStrategy(size=min(workers, len(todo)) if workers else None)
    # A block, and so a task, for each part.
    rows = ray.data.range(len(todo), override_num_blocks=len(todo)).map(make, num_cpus=1, compute=at_once)
    quiet_execution(rows)
    for row in rows.iter_rows():
        if row[_REFUSED]:
            raise UserError(row[_REFUSED])
        yield json.loads(row[_COUNTS])


def score(config: ScoreConfig, on_progress: StageProgress, say: Say = lambda line: None) -> dict[str, int]:
    """Writes ŷ of pairs; returns rows in all, and those of the model and of each fallback.

    `say` is told how files without names of columns are read.

    Raises:
        UserError: There is no such model or no such pairs, an id is none, or the output is taken.
    """
    return _pairs(config, config.split, weights=False, on_progress=on_progress, say=say)


def annotate(config: AnnotateConfig, on_progress: StageProgress, say: Say = lambda line: None) -> dict[str, int]:
    """Writes w1, w0 and ŷ of pairs; returns what `score` returns.

    Raises:
        UserError: As `score`; or the dataset has no unclear pairs and none were given.
    """
    return _pairs(config, None if config.pairs else "unclear", weights=True, on_progress=on_progress, say=say)


def recommend(config: RecommendConfig, on_progress: StageProgress, say: Say = lambda line: None) -> dict[str, int]:
    """Writes the K best items of users; returns and raises as `score`."""
    work = recommendations_of(config, say)
    return run_work(work, config.output, workers=config.workers, on_progress=on_progress)


def similar(config: SimilarConfig, on_progress: StageProgress, say: Say = lambda line: None) -> dict[str, int]:
    """Writes the K most similar items of items, or users of users; returns rows, and raises as `score`."""
    of_users = config.entity == "users"
    column = config.column or (USER if of_users else ITEM)
    files = find_pairs(config.ids, (column,), name_of=log_names(config), say=say) if config.ids else None
    model, run = load_served_model(config.run_dir, config.checkpoint, config.data, allow_code=config.allow_code)
    lookup = IdLookup("user" if of_users else "item", run.dataset.vocabulary(config.entity))
    work = Similarities(
        table=model.users if of_users else model.items,
        known=model.known.users if of_users else model.known.items,
        lookup=lookup,
        asked=read_asked(files, lookup) if files else lookup.ids,
        top=config.top,
        made_from={
            "result": "similar",
            **run.identity(),
            "entity": config.entity,
            "ids": [files.columns, files.files] if files else "all",
            "top": config.top,
        },
    )
    return run_work(work, config.output, workers=config.workers, on_progress=on_progress)


def _pairs(
    config: PairsConfig, split: str | None, *, weights: bool, on_progress: StageProgress, say: Say
) -> dict[str, int]:
    # Whether there are pairs shows before the model is read.
    columns = config.user_column or USER, config.item_column or ITEM
    files = find_pairs(config.pairs, columns, name_of=log_names(config), say=say) if config.pairs else None
    model, run = load_served_model(config.run_dir, config.checkpoint, config.data, allow_code=config.allow_code)
    source: PairSource = GivenPairs(files) if files else SplitPairs(run.dataset, str(split))
    work = PairResults(
        model=model,
        users=IdLookup("user", run.dataset.vocabulary("users")),
        items=IdLookup("item", run.dataset.vocabulary("items")),
        source=source,
        weights=weights,
        checkpoint=run.identity(),
    )
    return run_work(work, config.output, workers=config.workers, on_progress=on_progress)
