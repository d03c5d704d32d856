"""Logs of watches with taste, as files and as datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from exposure_reference import planted

from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare import PrepareConfig, prepare

Watches = list[tuple[int, int, str]]
"""User, item, and label as in a file: `1`, `0`, or nothing where unclear."""


def watches(users: int = 160, items: int = 90, seed: int = 0, unclear: float = 0.3) -> Watches:
    """Watches of users of several tastes; some pairs occur twice, clear and unclear."""
    rng = np.random.default_rng(seed)
    found: Watches = []
    for user, item in np.argwhere(planted(users, items, seed)).tolist():
        if rng.random() < unclear:
            found.append((user, item, ""))
            if rng.random() < 0.9:
                continue
        found.append((user, item, str(rng.integers(2))))
    return found


def prepared(root: Path, output: str, rows: Watches, **options: Any) -> Dataset:
    """Writes the watches as `log.csv` and prepares it."""
    source = root / "log.csv"
    source.write_text("user_id,item_id,label\n" + "".join(f"{user},{item},{label}\n" for user, item, label in rows))
    prepare(PrepareConfig(source=str(source), output=str(root / output), **{"lanes": 3, "name": "log", **options}))
    return Dataset.open(str(root / output))


def contents(path: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
