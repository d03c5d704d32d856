"""An error of one rank's own work, kept until all ranks can end together: none is left waiting in a collective."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

from distributed_il.core.collectives import Collectives


class FirstError:
    """The first error of this rank's own work.

    Attributes:
        error: The error; None as long as all went well.
    """

    def __init__(self) -> None:
        """All is well."""
        self.error: Exception | None = None

    @contextmanager
    def kept(self) -> Generator[None]:
        """Keeps an error of what it encloses, which must hold no collective."""
        try:
            yield
        except Exception as raised:
            self.error = self.error or raised

    def raise_together(self, what: str, collectives: Collectives, device: torch.device) -> None:
        """Ends on all ranks if one of them has kept an error; all call it together.

        Args:
            what: What could not be done, for the ranks where all went well.
            collectives: The ranks.
            device: Where collectives work.

        Raises:
            Exception: The error that this rank has kept.
            RuntimeError: Another rank has kept one.
        """
        flag = torch.tensor(int(self.error is not None), device=device)
        failed = collectives.all_gather(flag).nonzero().flatten().tolist()
        if self.error is not None:
            raise self.error
        if failed:
            raise RuntimeError(f"{what} on ranks {failed}")
