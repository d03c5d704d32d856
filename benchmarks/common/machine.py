"""The facts about machine and versions that stand beside every benchmark result."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from distributed_il.core import machine


def machine_facts() -> dict[str, Any]:
    """Processor, cores, memory, system, versions, and the commit of the sources, as plain values."""
    return {**machine.machine_facts(), "commit": _commit()}


def machine_line(facts: dict[str, Any]) -> str:
    """The facts in one line for people.

    Args:
        facts: What `machine_facts` returns.
    """
    return f"{machine.machine_text(facts)}; {machine.versions_text(facts)}; commit {facts['commit'] or 'unknown'}"


def _commit() -> str | None:
    """Short hash of the commit that the sources stand at; None outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
