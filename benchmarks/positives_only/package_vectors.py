"""Trains a model of the `implicit` package and writes its vectors; run by the Python of that package's environment.

It imports nothing of ours, so that neither needs the other's dependencies.

    python package_vectors.py PAIRS.npz OUTPUT '{"model": "als", "seed": 0, "keep_at": [5, 10], "settings": {…}}'
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

MODELS = {
    "als": ("implicit.als", "AlternatingLeastSquares"),
    "bpr": ("implicit.bpr", "BayesianPersonalizedRanking"),
}


def train(pairs: str, output: Path, asked: dict[str, Any]) -> float:
    """Trains, and writes `users-N.npy` and `items-N.npy` after each number N of iterations that is asked for.

    Args:
        pairs: A file of `indptr`, `items` and `num_items`: each user's items.
        output: Directory of the vectors; a score is their dot product.
        asked: `model`, `seed`, `keep_at` and `settings`, what the model is made with.

    Returns:
        Seconds of training.
    """
    sparse: Any = importlib.import_module("scipy.sparse")
    module, name = MODELS[asked["model"]]
    kept = set(asked["keep_at"])
    model = getattr(importlib.import_module(module), name)(
        iterations=max(kept), num_threads=1, random_state=asked["seed"], **asked["settings"]
    )
    with np.load(pairs) as arrays:
        items, indptr, num_items = arrays["items"], arrays["indptr"], int(arrays["num_items"])
    matrix = sparse.csr_matrix((np.ones(items.size, np.float32), items, indptr), shape=(indptr.size - 1, num_items))

    def keep(iteration: int, *_: Any) -> None:
        if iteration + 1 in kept:
            np.save(output / f"users-{iteration + 1}.npy", model.user_factors)
            np.save(output / f"items-{iteration + 1}.npy", model.item_factors)

    started = time.perf_counter()
    model.fit(matrix, show_progress=False, callback=keep)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps({"seconds": train(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))}))
