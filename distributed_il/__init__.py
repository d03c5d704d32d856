"""Inverse learning from extremely sparse feedback, trained on a Ray cluster.

    import distributed_il as dil

    dil.prepare(frame, output="data/x")
    run = dil.train(data="data/x", run_dir="runs/x")
    model = dil.load("runs/x")
    model.score(frame)
    model.recommend(["u1", "u2"], k=5)

Nothing is imported before it is used: `import distributed_il` alone imports neither torch nor Ray, and scoring needs
no Ray.
"""

from __future__ import annotations

import pkgutil
from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "LoadedModel": "distributed_il.inference.loaded_model",
    "Run": "distributed_il.runtime.calls",
    "UserError": "distributed_il.core.errors",
    "evaluate": "distributed_il.inference.loaded_model",
    "load": "distributed_il.inference.loaded_model",
    "prepare": "distributed_il.runtime.calls",
    "sweep": "distributed_il.runtime.calls",
    "train": "distributed_il.runtime.calls",
}
"""The module of each public name."""


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _PLACES:
        raise AttributeError(f"module 'distributed_il' has no attribute {name!r}")
    found = pkgutil.resolve_name(f"{_PLACES[name]}:{name}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
