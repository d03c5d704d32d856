"""What a model was before some steps, kept by the rows that the steps touch: they can be taken back without a copy."""

from __future__ import annotations

from distributed_il.models.embedding.row_journal import RECORD_BYTES, RowJournal
from distributed_il.models.learner import Learner


class UndoJournal:
    """Records rows of a learner before they are changed, and rolls all of it back, as often as wanted.

    Within the block of this context manager each row held here is copied before it is changed for the first time, with
    its moments and `last_step`; the tower with its moments, maps and buffers, and the step count, are copied at the
    start. What was rolled back stays recorded, so that several courses of steps can be tried from one state.

    Every rank records the rows that it changes itself, whichever rank's batch touched them, so it takes no collective.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._tables = (learner.users, learner.items)
        self._step = learner.step
        self._tower = {name: tensor.clone() for name, tensor in learner.tower.state().items()}

    def __enter__(self) -> UndoJournal:
        for table in self._tables:
            table.journal = RowJournal(table.packed, table.last_step)
        return self

    def __exit__(self, *_: object) -> None:
        for table in self._tables:
            table.journal = None

    def roll_back(self) -> None:
        """Gives every weight, moment and count the bits that it had when this journal was made."""
        for table in self._tables:
            assert table.journal is not None
            table.journal.roll_back()
        for name, tensor in self._learner.tower.state().items():
            tensor.copy_(self._tower[name])
        self._learner.step = self._step


def journal_bytes(learner: Learner, most_touched: int) -> int:
    """Returns the most that a journal of a learner takes if steps touch up to `most_touched` rows of each table."""
    total = learner.tower.packed.numel() * learner.tower.packed.element_size()
    for table in (learner.users, learner.items):
        row_bytes = table.packed.shape[1] * table.packed.element_size() + RECORD_BYTES
        total += table.num_rows + min(table.num_rows, most_touched) * row_bytes
    return total
