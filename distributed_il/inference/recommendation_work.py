"""From the settings of `recommend` to the work that it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.id_files.pair_files import PairFiles, find_pairs
from distributed_il.data.id_files.reading import read_items
from distributed_il.data.sampling import PairIndex
from distributed_il.inference.choice import Choice, read_fields, read_pairs
from distributed_il.inference.config import RecommendConfig
from distributed_il.inference.fold_in import fold_in_of
from distributed_il.inference.histories import HistoryRecommendations, read_histories
from distributed_il.inference.log_columns import ITEM, LABEL, USER, log_names
from distributed_il.inference.model import load_served_model
from distributed_il.inference.recommendations import Recommendations, read_asked
from distributed_il.inference.result_parts import Work


class _Files:
    """The files that settings name; whether they are there shows before a model is read."""

    def __init__(self, config: RecommendConfig, say: Callable[[str], None]) -> None:
        user, item, label = config.user_column or USER, config.item_column or ITEM, config.label_column
        find = partial(find_pairs, name_of=log_names(config), say=say)
        columns = [user, item, *([label] if label else [])]
        self.users = find(config.users, [user]) if config.users else None
        self.histories = find(config.histories, columns, last=None if label else LABEL) if config.histories else None
        self.candidates = find(config.candidates, [item]) if config.candidates else None
        self.exclude = find(config.exclude, [item], first=user) if config.exclude else None
        fields = [item, *config.item_fields]
        self.item_file = find(config.item_file, fields, has_names=True) if config.item_file else None
        if self.histories and self.excludes_by_user:
            raise UserError(
                f"{config.exclude} excludes items for users of the dataset, and histories are of others; give exclude "
                f"without a column {user!r}"
            )

    @property
    def excludes_by_user(self) -> bool:
        """Whether `exclude` says to whom."""
        return self.exclude is not None and len(self.exclude.columns) == 2

    def identity(self) -> dict[str, Any]:
        """Returns what tells these files from others."""
        named: dict[str, PairFiles | None] = vars(self)
        return {name: [read.columns, read.files] for name, read in named.items() if read is not None}


def recommendations_of(config: RecommendConfig, say: Callable[[str], None] = lambda line: None) -> Work:
    """Reads the model and all files; `say` is told how files without names of columns are read.

    Raises:
        UserError: There is no such model or file, or one holds what it must not.
    """
    files = _Files(config, say)
    model, run = load_served_model(config.run_dir, config.checkpoint, config.data, allow_code=config.allow_code)
    users, items = (IdLookup(kind[:-1], run.dataset.vocabulary(kind)) for kind in ("users", "items"))
    work = Recommendations(
        model=model,
        users=users,
        items=items,
        asked=read_asked(files.users, users) if files.users else users.ids,
        top=config.top,
        choice=_choice(config, files, run.dataset, users, items),
        min_score=config.min_score,
        fields=read_fields(files.item_file, items) if files.item_file else pa.table({}),
        answered_by="history" if files.histories else "model",
        made_from={
            "result": "recommend",
            **run.identity(),
            **files.identity(),
            "top": config.top,
            "seen": config.seen,
            "cold": config.cold,
            "min_score": config.min_score,
        },
    )
    if files.histories is None:
        return work
    histories = read_histories(files.histories, users, items)
    return HistoryRecommendations(work, fold_in_of(model, run), histories, config.seen == "leave_out")


def _choice(config: RecommendConfig, files: _Files, dataset: Dataset, users: IdLookup, items: IdLookup) -> Choice:
    allowed = read_items(files.candidates, items) if files.candidates else None
    left_out: list[PairIndex | None] = []
    if config.seen == "leave_out" and files.histories is None:
        left_out += [dataset.observed(), dataset.logged()]
    if files.exclude and files.excludes_by_user:
        left_out.append(read_pairs(files.exclude, users, items))
    elif files.exclude:
        kept = ~read_items(files.exclude, items)
        allowed = kept if allowed is None else allowed & kept
    return Choice(tuple(index for index in left_out if index is not None), allowed, config.cold)
