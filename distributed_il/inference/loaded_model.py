"""A trained model in a Python program: it scores, recommends and compares under external ids, without Ray."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.core.typed import check_fields, check_type
from distributed_il.data.dataset import Entity
from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.prepare.sources.column_types import BadValueError
from distributed_il.evaluation.top_items import USERS_AT_ONCE
from distributed_il.inference import evaluate as evaluation
from distributed_il.inference.choice import Choice
from distributed_il.inference.config import Cold, EvaluateConfig, Seen
from distributed_il.inference.frames import like, to_arrow
from distributed_il.inference.model import ServedModel, load_served_model
from distributed_il.inference.pair_results import fallback_column
from distributed_il.inference.similar import Similarities
from distributed_il.inference.top_k import top_items
from distributed_il.inference.trained_run import TrainedRun
from distributed_il.training.run_outputs import read_metrics


class LoadedModel:
    """A model that was trained, in memory.

    Attributes:
        metrics: What metrics.json holds: `valid`, `test` and `trivial`, each by metric, `ranking` and `run`; empty
            before the run is finished.
        history: The validation metrics of each round.
    """

    def __init__(self, model: ServedModel, run: TrainedRun, metrics: dict[str, Any]) -> None:
        """Takes what `load` has read."""
        self._model, self._run = model, run
        self._users = IdLookup("user", run.dataset.vocabulary("users"))
        self._items = IdLookup("item", run.dataset.vocabulary("items"))
        self.history: list[dict[str, Any]] = metrics.pop("history", [])
        self.metrics = metrics

    def score(self, pairs: Any, *, user_column: str = "user_id", item_column: str = "item_id") -> Any:
        """Computes ŷ, the probability of a positive, of pairs.

        Args:
            pairs: A table of pairs: pandas, Polars, Arrow, or a mapping from names to columns; ids as they were
                prepared.
            user_column: Its column of user ids.
            item_column: Its column of item ids.

        Returns:
            A row for each pair, in their order: `user_id`, `item_id`, `score`, and `answered_by`, which is `model`, or
            for ids that the model does not know `item_mean` or `overall_mean`. A pandas DataFrame for pandas, else an
            Arrow table.

        Raises:
            UserError: A column is missing, or a value can't be an id.
        """
        table = to_arrow(pairs, (user_column, item_column))
        users = _read(self._users, table.column(user_column), user_column)
        items = _read(self._items, table.column(item_column), item_column)
        logits, fallback = self._model.score(self._users.rows(users), self._items.rows(items))
        scores = pa.array(self._model.probabilities(logits).numpy())
        columns = {"user_id": users, "item_id": items, "score": scores, "answered_by": fallback_column(fallback)}
        return like(pairs, pa.table(columns))

    def recommend(
        self,
        users: Any,
        k: int = 10,
        *,
        seen: Seen = "leave_out",
        cold: Cold = "last",
        candidates: Any = None,
    ) -> Any:
        """Finds the k best items of users.

        Args:
            users: Their ids: a sequence, an Arrow array or a pandas Series.
            k: Items for each.
            seen: Whether items of the user's training rows and unclear watches may come again.
            cold: Where items go that the model does not know: behind all others, by the mean over all training rows
                (`prior`), or not at all.
            candidates: Ids of the items that may come, as `users`; None for all.

        Returns:
            `user_id`, `item_id`, `rank` from 1, `score`; fewer than k rows for a user who has seen almost all. An Arrow
            table for an Arrow array, else a pandas DataFrame.

        Raises:
            UserError: A value can't be an id, k is below 1, or another argument is none of those above.
        """
        _require_count(k)
        check_type("seen", seen, Seen)
        check_type("cold", cold, Cold)
        dataset = self._run.dataset
        indexes = (dataset.observed(), dataset.logged()) if seen == "leave_out" else ()
        allowed = None
        if candidates is not None:
            rows = self._items.rows(_read(self._items, _array(candidates), "candidates"))
            allowed = np.zeros(len(self._items.ids), np.bool_)
            allowed[rows[rows >= 0]] = True
        choice = Choice(tuple(index for index in indexes if index is not None), allowed, cold)
        given = _read(self._users, _array(users), "users")
        parts: list[pa.Table] = []
        for start in range(0, max(len(given), 1), USERS_AT_ONCE):
            own = given.slice(start, USERS_AT_ONCE)
            best = top_items(self._model, self._users.rows(own), top=k, choice=choice)
            places, ranks = (best.logits > -np.inf).numpy().nonzero()
            scores = self._model.probabilities(best.logits[places, ranks]).numpy()
            columns = {"user_id": own.take(pa.array(places))}
            columns["item_id"] = self._items.external(best.item_ids[places, ranks].numpy())
            columns |= {"rank": pa.array(ranks + 1), "score": pa.array(scores)}
            parts.append(pa.table(columns))
        return _out(users, pa.concat_tables(parts))

    def similar(self, ids: Any, k: int = 10, *, entity: Entity = "items") -> Any:
        """Finds the k items most like each given one, or users, by the cosine of the model's rows.

        Args:
            ids: Their ids: a sequence, an Arrow array or a pandas Series.
            k: Items or users for each.
            entity: What the ids are of.

        Returns:
            `item_id`, `rank` from 1, `similar_item_id`, `cosine`, or `user_id` and `similar_user_id`; no row for an id
            that the model does not know. An Arrow table for an Arrow array, else a pandas DataFrame.

        Raises:
            UserError: The dataset has no such id, k is below 1, or `entity` is another one.
        """
        _require_count(k)
        check_type("entity", entity, Entity)
        lookup, table = (self._users, self._model.users) if entity == "users" else (self._items, self._model.items)
        given = _read(lookup, _array(ids), entity)
        strange = np.flatnonzero(lookup.rows(given) < 0)
        if strange.size:
            raise UserError(
                f"{lookup.entity} {given[int(strange[0])].as_py()!r} is none of the dataset's; leave it out"
            )
        known = self._model.known.users if entity == "users" else self._model.known.items
        return _out(ids, Similarities(table, known, lookup, given, k, {}).of(given))

    def embeddings(self, entity: Entity = "items") -> tuple[pa.Array, NDArray[Any]]:
        """Returns external ids [n] and the model's rows of them [n, dim], exposure factors folded in; to be read alone.

        Args:
            entity: Whose.

        Raises:
            UserError: There are none of such.
        """
        check_type("entity", entity, Entity)
        if entity == "users":
            return self._users.ids, self._model.users
        return self._items.ids, self._model.items


def load(
    run_dir: str, *, checkpoint: Literal["best", "last"] = "best", data: str | None = None, allow_code: bool = False
) -> LoadedModel:
    """Reads a trained model.

    Args:
        run_dir: Directory or pyarrow URI of the run.
        checkpoint: Which model: that of the best round, or the last one.
        data: The dataset that it was trained on; None for the place that the run names.
        allow_code: Whether a backbone may be imported that is none of this package's.

    Raises:
        UserError: There is no such model, its dataset is another one, or a file is damaged.
    """
    model, run = load_served_model(run_dir, checkpoint, data, allow_code=allow_code)
    return LoadedModel(model, run, read_metrics(run_dir, run.manifest) or {})


def evaluate(run_dir: str, *, split: Literal["valid", "test"] = "test", **settings: Any) -> dict[str, Any]:
    """Measures a trained model again.

    Args:
        run_dir: Directory or pyarrow URI of the run.
        split: Which rows.
        settings: Others of the command `evaluate`: data, checkpoint, allow_code, per_user.

    Returns:
        `{split: {…}, "trivial": {…}}` as in metrics.json.

    Raises:
        UserError: There is no such model or setting, or it was trained on other data.
    """
    values: dict[str, Any] = {"run_dir": run_dir, "split": split, **settings}
    check_fields(EvaluateConfig, values)
    return evaluation.evaluate(EvaluateConfig(**values))


def _read(lookup: IdLookup, column: pa.ChunkedArray | pa.Array, name: str) -> pa.Array:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    try:
        return lookup.read(whole)
    except BadValueError as error:
        raise UserError(f"{name}, row {error.row}: {error}") from error


def _array(values: Any) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise UserError(f"{values!r} is one id; give a list of ids, [{values!r}]")
    if hasattr(values, "columns"):
        raise UserError("a table is given for ids; give its column of ids")
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UserError(f"ids must be all text or all whole numbers ({error})") from error


def _out(given: Any, table: pa.Table) -> Any:
    return table if isinstance(given, pa.Array | pa.ChunkedArray) else table.to_pandas()


def _require_count(k: Any) -> None:
    if not isinstance(k, int | np.integer) or k < 1:
        raise UserError(f"k is {k!r}; it must be a whole number, at least 1")
