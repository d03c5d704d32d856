"""The most memory that some work takes beyond what was taken before it."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType

import torch


class PeakMemory:
    """Watches the peak while a `with` block runs: resident memory of the process (Linux), or a GPU's allocated memory.

    What an allocator kept from earlier work is resident already and not counted again: begin in a fresh process.

    Attributes:
        bytes: Peak within the block less what was taken at its begin; known at its end.
    """

    def __init__(self, device: torch.device) -> None:
        """Fixes what is watched.

        Args:
            device: A CPU for the process, or the GPU.
        """
        self._device = device
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        else:
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            self._before = _resident("VmRSS")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        cuda = self._device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(self._device) if cuda else _resident("VmHWM")
        self.bytes = peak - self._before


def _resident(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
