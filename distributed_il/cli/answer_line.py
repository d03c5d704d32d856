"""What came of a result, as people read it."""

from __future__ import annotations

from collections.abc import Mapping


def answer_line(output: str, counts: Mapping[str, int]) -> str:
    """How many rows there are, how many of them the model did not answer, and where they lie.

    Args:
        output: Directory of the result.
        counts: `rows`, and rows by who answered.
    """
    others = {name: rows for name, rows in counts.items() if name not in ("rows", "model") and rows}
    said = "".join(f", {rows:,} of them answered by {name.replace('_', ' ')}" for name, rows in others.items())
    return f"{output}: {counts['rows']:,} rows{said}"
