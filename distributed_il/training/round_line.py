"""What a run says of each round, in a line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from distributed_il.core.progress import short_number
from distributed_il.evaluation.selection import Selection


def round_line(
    entry: Mapping[str, Any], selection: Selection, *, max_rounds: int, best: bool, rows_per_s: float, seconds: float
) -> str:
    """Returns the line, of 80 characters at the most where rounds are counted by three digits.

    Args:
        entry: Of the history.
        selection: What rounds are chosen by; a metric other than a log loss stands beside that.
        max_rounds: Rounds at the most.
        best: Whether it is the best so far.
        rows_per_s: Labelled rows of all ranks a second, over the round's passes.
        seconds: That the round took, with its validation and its checkpoint.
    """
    number = f"{entry['round']:>{len(str(max_rounds))}}"
    loss = selection.key if selection.key.endswith("logloss") else "logloss"
    parts = [f"round {number}/{max_rounds}", f"train {_four(entry['train_loss'])}", f"valid {_four(entry.get(loss))}"]
    if loss == selection.key:
        parts.append(f"AUC {_four(entry.get('auc'))}")
    else:
        parts.append(f"{selection.key} {_four(selection.value(entry))}")
    parts += ["best" if best else "    ", f"{short_number(rows_per_s):>6}/s", f"{seconds:.{int(seconds < 10)}f} s"]
    return "  ".join(parts)


def _four(value: float | None) -> str:
    return f"{value:.4f}" if value is not None and math.isfinite(value) else "–"
