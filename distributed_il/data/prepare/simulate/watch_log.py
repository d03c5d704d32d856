"""A log of watches, and how many of each kind it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSize:
    """What a log holds, exactly.

    Attributes:
        users: Users, each with at least one clear watch.
        items: Items, each with at least one clear watch.
        positives: Watches with label 1.
        negatives: Watches with label 0.
        unclear: Watches without a label.
    """

    users: int
    items: int
    positives: int
    negatives: int
    unclear: int

    @property
    def rows(self) -> int:
        """All watches."""
        return self.positives + self.negatives + self.unclear

    @property
    def positive_share(self) -> float:
        """That of positives among the clear watches."""
        return self.positives / (self.positives + self.negatives)

    @property
    def unclear_share(self) -> float:
        """That of unclear watches among those that may be unclear: every user and every item has one always clear."""
        return self.unclear / (self.rows - self.users - self.items)


@dataclass(frozen=True, slots=True)
class WatchLog:
    """Watches in order of user and item; every pair once.

    Attributes:
        users: int32[n], below the number of users.
        items: int32[n].
        play_ms: int32[n].
        duration_ms: int32[n].
        labels: int8[n], 1, 0 or `UNCLEAR`.
        preferences: float32[n], π, which P(label = 1) equals for a clear watch.
        days: int32[n], from 0; None where the log knows no time.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    play_ms: NDArray[np.int32]
    duration_ms: NDArray[np.int32]
    labels: NDArray[np.int8]
    preferences: NDArray[np.float32]
    days: NDArray[np.int32] | None = None

    def take(self, rows: NDArray[np.int64]) -> WatchLog:
        """Returns the rows of these numbers, in that order."""
        return WatchLog(**{name: column[rows] for name, column in self._columns().items()})

    @staticmethod
    def join(parts: Sequence[WatchLog]) -> WatchLog:
        """Concatenates logs, which all know the time or none of them."""
        columns = [part._columns() for part in parts]
        return WatchLog(**{name: np.concatenate([part[name] for part in columns]) for name in columns[0]})

    def _columns(self) -> dict[str, NDArray[Any]]:
        """The columns that there are."""
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        return {name: values for name, values in columns.items() if values is not None}
