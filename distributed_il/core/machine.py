"""The facts about machine and versions that stand beside what was measured on it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "pyarrow", "ray")


def machine_facts() -> dict[str, Any]:
    """Returns processor, cores, memory, system and versions, as plain values."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def machine_text(facts: Mapping[str, Any]) -> str:
    """Says in a line what machine it is; `facts` are those of `machine_facts`."""
    return f"{facts['processor']}, {facts['cores']} cores, {facts['memory_bytes'] / 2**30:.0f} GiB"


def versions_text(facts: Mapping[str, Any]) -> str:
    """Says in a line which versions were installed; `facts` are those of `machine_facts`."""
    return ", ".join(f"{name} {number}" for name, number in facts["versions"].items() if number)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
