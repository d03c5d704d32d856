"""Codes the side features of users or items for a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.data.dataset import Dataset, Entity

_NONE = -1
"""Place of a value that was not given."""


@dataclass(frozen=True, eq=False, slots=True)
class SideFeatures:
    """Values of categorical columns, as they were given for some ids.

    Attributes:
        entity: Whose.
        ids: External ids, int64 or string, each once.
        places: Places of each id's values in `texts` of each column, −1 where none is given, int32 [ids, Σ widths]: of
            each column as many as its width.
        texts: Distinct values by column, strings.
        widths: Most values of an id in each column.
    """

    entity: Entity
    ids: pa.Array
    places: NDArray[np.int32]
    texts: Mapping[str, pa.Array]
    widths: tuple[int, ...]


@dataclass(frozen=True, eq=False, slots=True)
class CodedFeatures:
    """Side features as a dataset holds them.

    Attributes:
        codes: k for the k-th value of the column, ascending, and 0 for unknown and behind the last one, int32 [ids of
            the dataset, Σ widths].
        values: Values of each column, strings; only those that occur.
        widths: Most values that an id has in each column, but at least 1.
        counts: For the manifest: ids of the dataset with some value, and ids that it does not have.
    """

    codes: NDArray[np.int32]
    values: Mapping[str, pa.Array]
    widths: tuple[int, ...]
    counts: Mapping[str, int]


def code_features(
    features: SideFeatures, vocabulary: pa.Array | pa.ChunkedArray, parent: Dataset | None
) -> CodedFeatures:
    """Codes the features of every id of a dataset.

    Values of the parent keep their codes, new ones come after them in the order of their text. An id that was given no
    value keeps the one that it has in the parent, whose ids come first; it has the same columns or none. Place k of
    `vocabulary`, of the type of the ids given, is dense id k.
    """
    rows = pc.fill_null(pc.index_in(vocabulary, value_set=features.ids), _NONE).to_numpy()
    before, known, widths_before = None, {}, (0,) * len(features.widths)
    if parent is not None and (columns := parent.feature_columns(features.entity)):
        before, known = parent.feature_codes(features.entity), parent.feature_values(features.entity)
        widths_before = tuple(column.width for column in columns)
    values: dict[str, pa.Array] = {}
    blocks: list[NDArray[np.int32]] = []
    start = start_before = 0
    for (name, texts), width, width_before in zip(features.texts.items(), features.widths, widths_before, strict=True):
        places = np.where(rows[:, np.newaxis] >= 0, features.places[rows, start : start + width], _NONE)
        code_of, values[name] = _codes_of(np.unique(places[places >= 0]), texts, known.get(name))
        block = _packed(code_of[places], least=width_before)
        if before is not None:
            old, none_given = block[: len(before), :width_before], ~block[: len(before)].any(axis=1)
            old[none_given] = before[none_given, start_before : start_before + width_before]
        blocks.append(block)
        start, start_before = start + width, start_before + width_before
    codes = np.concatenate(blocks, axis=1)
    kind = features.entity.removesuffix("s")
    counts = {
        f"{features.entity}_with_features": int(codes.any(axis=1).sum()),
        f"{kind}_features_unused": len(features.ids) - int((rows >= 0).sum()),
    }
    return CodedFeatures(codes, values, tuple(block.shape[1] for block in blocks), counts)


def _packed(codes: NDArray[np.int32], least: int) -> NDArray[np.int32]:
    """Orders the codes of each row, 0 last, in as many columns as they take, but at least 1 and `least`."""
    last = np.iinfo(np.int32).max
    ordered = np.sort(np.where(codes == 0, last, codes), axis=1)
    width = max(int((codes > 0).sum(axis=1).max(initial=0)), 1)
    packed = np.where(ordered == last, 0, ordered)[:, :width]
    return np.pad(packed, ((0, 0), (0, max(least - width, 0))))


def _codes_of(used: NDArray[Any], texts: pa.Array, known: pa.Array | None) -> tuple[NDArray[np.int32], pa.Array]:
    """The code of each text by its place, and of no text at place −1; and all values in the order of their codes."""
    occurring = texts.take(pa.array(used))
    known = texts.slice(0, 0) if known is None else known
    new = occurring.filter(pc.invert(pc.is_in(occurring, value_set=known)))
    values = pa.concat_arrays([known, new.take(pc.sort_indices(new))])
    code_of = np.zeros(len(texts) + 1, np.int32)
    code_of[used] = pc.index_in(occurring, value_set=values).to_numpy() + 1
    return code_of, values
