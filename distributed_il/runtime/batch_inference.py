"""A trained model in use: pairs scored and annotated, items recommended, each as a job over sharded input."""

from __future__ import annotations

from distributed_il.runtime.result_job import OnProgress, run_work  # isort: skip  # before Ray

from distributed_il.inference.config import AnnotateConfig, RecommendConfig, ScoreConfig
from distributed_il.inference.id_lookup import Vocabulary
from distributed_il.inference.model import load_served_model
from distributed_il.inference.pair_files import find_pairs
from distributed_il.inference.pair_results import PairResults
from distributed_il.inference.pair_sources import GivenPairs, PairSource, SplitPairs
from distributed_il.inference.recommendations import Recommendations, read_users


def score(config: ScoreConfig, on_progress: OnProgress) -> dict[str, int]:
    """Writes ŷ of pairs.

    Args:
        config: Which pairs and model.
        on_progress: Told how far it is.

    Returns:
        Rows in all, and by who answered for them.

    Raises:
        UserError: There is no such model or no such pairs, an id is none, or the output is taken.
    """
    return _pairs(config, config.split, weights=False, on_progress=on_progress)


def annotate(config: AnnotateConfig, on_progress: OnProgress) -> dict[str, int]:
    """Writes w1, w0 and ŷ of pairs.

    Args:
        config: Which pairs and model.
        on_progress: Told how far it is.

    Returns:
        Rows in all, and by who answered for them.

    Raises:
        UserError: As `score`; or the dataset has no unclear pairs and none were given.
    """
    return _pairs(config, None if config.pairs else "unclear", weights=True, on_progress=on_progress)


def recommend(config: RecommendConfig, on_progress: OnProgress) -> dict[str, int]:
    """Writes the K best items of users.

    Args:
        config: Which users and model.
        on_progress: Told how far it is.

    Returns:
        Rows in all, and by who answered for them.

    Raises:
        UserError: As `score`.
    """
    files = find_pairs(config.users, (config.user_column,)) if config.users else None
    model, run = load_served_model(config.run_dir, config.checkpoint, config.data)
    users = Vocabulary("user", run.dataset.vocabulary("users"))
    indexes = (run.dataset.observed(), run.dataset.logged()) if config.seen == "leave_out" else ()
    work = Recommendations(
        model=model,
        users=users,
        items=Vocabulary("item", run.dataset.vocabulary("items")),
        asked=read_users(files, users) if files else users.ids,
        top=config.top,
        seen=tuple(index for index in indexes if index is not None),
        made_from={
            "result": "recommend",
            **run.identity(),
            "users": [list(file) for file in files.files] if files else "all",
            "columns": list(files.columns) if files else [],
            "top": config.top,
            "seen": config.seen,
        },
    )
    return run_work(work, config.output, workers=config.workers, on_progress=on_progress)


def _pairs(
    config: ScoreConfig | AnnotateConfig, split: str | None, *, weights: bool, on_progress: OnProgress
) -> dict[str, int]:
    # Whether there are pairs shows before the model is read.
    files = find_pairs(config.pairs, (config.user_column, config.item_column)) if config.pairs else None
    model, run = load_served_model(config.run_dir, config.checkpoint, config.data)
    source: PairSource = GivenPairs(files) if files else SplitPairs(run.dataset, str(split))
    work = PairResults(
        model=model,
        users=Vocabulary("user", run.dataset.vocabulary("users")),
        items=Vocabulary("item", run.dataset.vocabulary("items")),
        source=source,
        weights=weights,
        checkpoint=run.identity(),
    )
    return run_work(work, config.output, workers=config.workers, on_progress=on_progress)
