"""What a rank may wish for at a report; what one rank wishes, all ranks do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Wishes(NamedTuple):
    """Each of them begins with a checkpoint, so that what is done at the same step on every rank is done together.

    Attributes:
        save: A checkpoint, and on.
        stop: The end of the run.
        leave: The end of these workers, because one of their nodes will go away.
    """

    save: bool = False
    stop: bool = False
    leave: bool = False

    @classmethod
    def of_all(cls, counts: Iterable[float]) -> Wishes:
        """What follows from the number of ranks that wish for each."""
        return cls(*(count > 0 for count in counts))
