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
        places: Place of each id's value in `texts` of each column, −1 where none was given, int32 [ids, columns].
        texts: Distinct values by column, strings.
    """

    entity: Entity
    ids: pa.Array
    places: NDArray[np.int32]
    texts: Mapping[str, pa.Array]


@dataclass(frozen=True, eq=False, slots=True)
class CodedFeatures:
    """Side features as a dataset holds them.

    Attributes:
        codes: 0 for unknown, k for the k-th value of the column, int32 [ids of the dataset, columns].
        values: Values of each column, strings; only those that occur.
        counts: For the manifest: ids of the dataset with some value, and ids that it does not have.
    """

    codes: NDArray[np.int32]
    values: Mapping[str, pa.Array]
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
    before, known = None, {}
    if parent is not None and parent.feature_columns(features.entity):
        before, known = parent.feature_codes(features.entity), parent.feature_values(features.entity)
    codes = np.zeros((len(rows), len(features.texts)), np.int32)
    values: dict[str, pa.Array] = {}
    for column, (name, texts) in enumerate(features.texts.items()):
        places = np.where(rows >= 0, features.places[rows, column], _NONE)
        code_of, values[name] = _codes_of(np.unique(places[places >= 0]), texts, known.get(name))
        codes[:, column] = code_of[places]
        if before is not None:
            old = codes[: len(before), column]
            old[old == 0] = before[:, column][old == 0]
    kind = features.entity.removesuffix("s")
    counts = {
        f"{features.entity}_with_features": int(codes.any(axis=1).sum()),
        f"{kind}_features_unused": len(features.ids) - int((rows >= 0).sum()),
    }
    return CodedFeatures(codes, values, counts)


def _codes_of(used: NDArray[Any], texts: pa.Array, known: pa.Array | None) -> tuple[NDArray[np.int32], pa.Array]:
    """The code of each text by its place, and of no text at place −1; and all values in the order of their codes."""
    occurring = texts.take(pa.array(used))
    known = texts.slice(0, 0) if known is None else known
    new = occurring.filter(pc.invert(pc.is_in(occurring, value_set=known)))
    values = pa.concat_arrays([known, new.take(pc.sort_indices(new))])
    code_of = np.zeros(len(texts) + 1, np.int32)
    code_of[used] = pc.index_in(occurring, value_set=values).to_numpy() + 1
    return code_of, values
