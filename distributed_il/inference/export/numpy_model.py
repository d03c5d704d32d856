"""Scores pairs of external ids by an exported model, with NumPy alone.

    python score.py USER ITEM [USER ITEM …]

It stands beside the `model.npz` that it reads, is free to be copied into a program, and knows the backbones `gmf`,
`neumf`, `bias_mf`, `mlp` and `deepfm`. For users and items that the model never saw, means are the fallback.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Tower = Mapping[str, Array]
FALLBACKS = ("model", "item_mean", "overall_mean")


class NumpyModel:
    """A model as it lies in `model.npz`."""

    def __init__(self, path: str | Path) -> None:
        """Reads the file; nothing in it is pickled."""
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        self.users, self.items = arrays["users"], arrays["items"]
        self.ids = [arrays["user_ids"], arrays["item_ids"]]
        self._orders = [np.argsort(ids) for ids in self.ids]
        self._trained = [arrays["user_trained"], arrays["item_trained"]]
        self._item_prior, self._overall_prior = arrays["item_prior"], arrays["overall_prior"]
        self._slope, self._intercept = arrays["calibration"]
        self._half_width = arrays.get("half_width")
        self._codes = [arrays[name] for name in ("user_codes", "item_codes") if name in arrays]
        self._ends = [
            np.cumsum(arrays.get(name, np.ones(codes.shape[1], np.int64)))[:-1]
            for name, codes in zip(("user_widths", "item_widths"), self._codes, strict=False)
        ]
        self._backbone = BACKBONES[str(arrays["backbone"])]
        self._tower = {
            name.removeprefix("tower."): array for name, array in arrays.items() if name.startswith("tower.")
        }

    def score(self, user_ids: Array, item_ids: Array) -> tuple[Array, Array]:
        """Returns the probability of each pair, and its fallback: a place in `FALLBACKS`, 0 for the model's own.

        Args:
            user_ids: External ids [n], of any kind that the file's ids can be compared with.
            item_ids: Likewise.
        """
        users, items = self._rows(0, user_ids), self._rows(1, item_ids)
        known_user, known_item = (
            (rows >= 0) & trained[rows] for rows, trained in zip((users, items), self._trained, strict=True)
        )
        fallback = np.where(known_item, np.where(known_user, 0, 1), 2)
        logits = np.choose(fallback, [self.logits(users, items), self._item_prior[items], self._overall_prior])
        served = logits if self._half_width is None else clear_logit(logits, self._half_width)
        return 1 / (1 + np.exp(-self._slope * served - self._intercept)), fallback

    def logits(self, users: Array, items: Array) -> Array:
        """Returns raw logits of pairs of rows [n], whether the model has seen them or not."""
        codes = (
            np.split(table[rows], ends, axis=1) if table.shape[1] else []
            for table, ends, rows in zip(self._codes, self._ends, (users, items), strict=False)
        )
        return self._backbone(self._tower, self.users[users], self.items[items], *codes)

    def _rows(self, entity: int, given: Array) -> Array:
        """Returns rows of external ids; −1 where there is none."""
        ids, order = self.ids[entity], self._orders[entity]
        places = np.searchsorted(ids, given, sorter=order)
        rows = order[np.minimum(places, ids.size - 1)]
        return np.where(ids[rows] == given, rows, -1)


def clear_logit(x: Array, t: Array) -> Array:
    """s = log(1 + e^(x + t)) − log(1 + e^(t − x)), of a model whose raw logit has cut points at ±t."""
    return np.logaddexp(0, x + t) - np.logaddexp(0, t - x)


def gmf(tower: Tower, users: Array, items: Array) -> Array:
    """x = hᵀ(p ⊙ q) + b."""
    return (users * items) @ tower["predict.weight"][0] + tower["predict.bias"][0]


def bias_mf(tower: Tower, users: Array, items: Array) -> Array:
    """x = p · q + b_u + b_i + b, the biases in the last column."""
    return (users[:, :-1] * items[:, :-1]).sum(axis=1) + users[:, -1] + items[:, -1] + tower["offset"][0]


def mlp(tower: Tower, users: Array, items: Array) -> Array:
    """x = hᵀ MLP([p, q]) + b."""
    return _perceptron(tower, users, items) @ tower["predict.weight"][0] + tower["predict.bias"][0]


def neumf(tower: Tower, users: Array, items: Array) -> Array:
    """x = hᵀ[p ⊙ q, MLP([p', q'])] + b, p and q being the first columns."""
    size = tower["predict.weight"].shape[1] // 2
    hidden = _perceptron(tower, users[:, size:], items[:, size:])
    both = np.concatenate([users[:, :size] * items[:, :size], hidden], axis=1)
    return both @ tower["predict.weight"][0] + tower["predict.bias"][0]


def deepfm(tower: Tower, users: Array, items: Array, *codes: Sequence[Array]) -> Array:
    """x = Σ_f w_f + ½ (|Σ_f e_f|² − Σ_f |e_f|²) + hᵀ MLP([e_1, …]) + b; the weight is in a row's last column.

    `codes` are those of each column of users and of items, [B, width] each.
    """
    user_codes, item_codes = codes or ((), ())
    fields = [users, *(_mean(tower[f"user_features.{column}"], own) for column, own in enumerate(user_codes))]
    fields += [items, *(_mean(tower[f"item_features.{column}"], own) for column, own in enumerate(item_codes))]
    rows = np.stack(fields, axis=1)
    first_order, embeddings = rows[:, :, -1].sum(axis=1), rows[:, :, :-1]
    second_order = (embeddings.sum(axis=1) ** 2 - (embeddings**2).sum(axis=1)).sum(axis=1) / 2
    hidden = _layers(tower, embeddings.reshape(len(embeddings), -1))
    return first_order + second_order + hidden @ tower["predict.weight"][0] + tower["predict.bias"][0]


def _mean(table: Array, codes: Array) -> Array:
    """Returns the mean of the rows of several values, behind which zeros stand; a first one is the unknown value."""
    given = (codes > 0).astype(table.dtype)
    given[:, 0] = 1
    return (given[:, :, np.newaxis] * table[codes]).sum(axis=1) / given.sum(axis=1, keepdims=True)


def _perceptron(tower: Tower, users: Array, items: Array) -> Array:
    return _layers(tower, np.concatenate([users, items], axis=1))


def _layers(tower: Tower, hidden: Array) -> Array:
    for layer in (0, 2, 4):
        hidden = np.maximum(hidden @ tower[f"perceptron.{layer}.weight"].T + tower[f"perceptron.{layer}.bias"], 0)
    return hidden


BACKBONES = {"gmf": gmf, "neumf": neumf, "bias_mf": bias_mf, "mlp": mlp, "deepfm": deepfm}


def main(words: Sequence[str]) -> None:
    """Prints a line for each pair: user, item, score, and `model` or its fallback."""
    model = NumpyModel(Path(__file__).with_name("model.npz"))
    users, items = (_given(words[start::2], ids) for start, ids in enumerate(model.ids))
    for user, item, score, fallback in zip(users, items, *model.score(users, items), strict=True):
        print(user, item, f"{score:.6f}", FALLBACKS[fallback], sep="\t")


def _given(words: Sequence[str], ids: Array) -> Array:
    # As text they keep their own width: cut to that of the ids, u10 would be u1.
    return np.array(words, dtype=np.str_ if ids.dtype.kind == "U" else ids.dtype)


if __name__ == "__main__":
    main(sys.argv[1:])
