"""Tries the branches of a round from one state and leaves the learner with the best of them."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Sequence
from typing import Any

import torch

from distributed_il.core.errors import UserError
from distributed_il.core.process import available_bytes
from distributed_il.methods.branches import Branch, best_branch
from distributed_il.models.learner import Learner
from distributed_il.models.undo_journal import UndoJournal, journal_bytes


def keep_best_branch(
    learner: Learner, branches: Sequence[Branch], *, take: Callable[[Branch], None], judge: Callable[[], float]
) -> dict[str, Any]:
    """Takes each branch from the learner's present state, judges what comes of it, and keeps the best.

    One undo journal serves all branches: after each the rows that it touched are rolled back. A best one that is not
    the last is taken once more, on a CPU to the same bits: to keep what it had come to would double the memory.

    Args:
        learner: The replica that is trained.
        branches: What to try.
        take: Takes the steps of a branch; the same steps each time.
        judge: Returns the loss of the present state, the same on every rank.

    Returns:
        `chosen`, a branch's name, and `losses` by name.

    Raises:
        UserError: No branch has a finite loss.
    """
    losses: dict[str, float] = {}
    with UndoJournal(learner) as journal:
        for number, branch in enumerate(branches):
            if number:
                journal.roll_back()
            take(branch)
            losses[branch.name] = judge()
        best = best_branch(branches, losses)
        if best is not branches[-1]:
            journal.roll_back()
    if best is not branches[-1]:
        take(best)
    return {"chosen": best.name, "losses": losses}


def check_memory(learner: Learner, *, most_touched: int) -> None:
    """Makes sure that every rank has memory for an undo journal; all ranks call it together.

    Args:
        learner: The replica that is trained.
        most_touched: Most rows of a table that the steps of a round can touch, over all ranks.

    Raises:
        UserError: A machine, or a GPU, may not have enough for the ranks on it; on every rank.
    """
    needed = journal_bytes(learner, most_touched)
    if learner.device.type == "cuda":
        place, free = learner.collectives.rank, torch.cuda.mem_get_info(learner.device)[0]
    else:
        digest = hashlib.sha256(socket.gethostname().encode()).digest()
        place, free = int.from_bytes(digest[:8], signed=True), available_bytes()
    own = torch.tensor([place, needed, free], dtype=torch.int64, device=learner.device)
    ranks: list[list[int]] = learner.collectives.all_gather(own).tolist()
    for place in {rank[0] for rank in ranks}:
        together = sum(needed for there, needed, _ in ranks if there == place)
        free = min(free for there, _, free in ranks if there == place)
        if together > free:
            raise UserError(
                "method.decision is round, which keeps what each row was before the round: up to "
                f"{together / 1e9:,.2f} GB for the workers of one machine or GPU, which has {free / 1e9:,.2f} GB free; "
                "set method.decision to batch, or model.tables to sharded with workers on more machines, or "
                "model.embedding_dim lower"
            )
