"""What CUDA must be told for functions of a step: each is recorded once as a graph, and replayed from then on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


class Graphs:
    """Functions as CUDA graphs, one for each function and each set of shapes that it is called with.

    Attributes:
        failed: Whether something could not be recorded. Nothing is replayed from then on.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        """Records nothing yet.

        Args:
            say: Told, once, why a function could not be recorded.
        """
        self.failed = False
        self._say = say

    def graphed(self, function: F, *, fixed: int) -> F:
        """Makes a function that is recorded at the second call with some shapes.

        Args:
            function: Of tensors on a device by position; it does not wait for the device.
            fixed: How many of its first arguments are the same tensors at every call; it may change them in place.
                Later ones that are no tensors are the same at every call too.

        Returns:
            The function, replayed. Its results are overwritten by the next call with the same shapes.
        """
        records: dict[tuple[torch.Size, ...], _Record] = {}

        def call(*arguments: Any) -> Any:
            if self.failed:
                return function(*arguments)
            shapes = tuple(value.shape for value in arguments[fixed:] if isinstance(value, Tensor))
            record = records.get(shapes)
            if record is None:
                record = records[shapes] = _Record(function, arguments, fixed)
                return warm_up(function, record.arguments)
            record.fill(arguments)
            if record.replay is None:
                try:
                    record.replay, record.results = capture(function, record.arguments)
                except RuntimeError as error:
                    # Nothing is computed while a function is recorded, so that no tensor is half changed.
                    self.failed = True
                    reason = str(error).strip() or type(error).__name__
                    self._say(f"steps are no CUDA graphs, and slower for it: {reason.splitlines()[0]}")
                    return function(*arguments)
            record.replay()
            return record.results

        return cast(F, call)


class _Record:
    """Memory that a graph reads from and writes to; a graph knows addresses, not tensors."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], fixed: int) -> None:
        self.arguments = [
            value.clone() if place >= fixed and isinstance(value, Tensor) else value
            for place, value in enumerate(arguments)
        ]
        self.replay: Callable[[], None] | None = None
        self.results: Any = None
        self._fixed = fixed

    def fill(self, arguments: tuple[Any, ...]) -> None:
        """Copies the arguments of a call to where the graph reads them."""
        for mine, given in zip(self.arguments[self._fixed :], arguments[self._fixed :], strict=True):
            if isinstance(mine, Tensor):
                mine.copy_(given)


def warm_up(function: Callable[..., Any], arguments: list[Any]) -> Any:
    """Calls a function as it is, beside the main stream, as CUDA asks before it is recorded.

    Whatever can't be recorded happens now: compilation, and the libraries' setting up.

    Args:
        function: The function.
        arguments: Where its graph will read from.
    """
    main, beside = torch.cuda.current_stream(), torch.cuda.Stream()
    beside.wait_stream(main)
    with torch.cuda.stream(beside):
        results = function(*arguments)
    main.wait_stream(beside)
    return results


def capture(function: Callable[..., Any], arguments: list[Any]) -> tuple[Callable[[], None], Any]:
    """Records a function; nothing is computed.

    Args:
        function: The function.
        arguments: Where the graph reads from.

    Returns:
        What computes it, and where its results lie afterwards.
    """
    graph = torch.cuda.CUDAGraph()
    # The thread that makes batches ahead goes on using the device; only this thread's calls are to be judged.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        results = function(*arguments)
    return graph.replay, results
