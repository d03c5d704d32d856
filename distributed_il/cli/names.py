"""The nearest right name for a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing where no known name is near.

    A key is compared whole, and where that finds nothing by its last part: `--seed` is meant for `--run.seed`.

    Args:
        wrong: A name that is not known.
        known: The names that are.
    """
    known = list(known)
    plain = wrong.replace("-", "_").lower()
    near = difflib.get_close_matches(plain, known, n=1)
    if not near:
        last_parts = {key.rpartition(".")[2]: key for key in known}
        near = [last_parts[part] for part in difflib.get_close_matches(plain.rpartition(".")[2], last_parts, n=1)]
    return f"; did you mean '{near[0]}'?" if near else ""
