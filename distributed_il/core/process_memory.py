"""Memory of a process by kind: its own, mapped from files, and shared with other processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

KINDS = {"anonymous": "RssAnon", "file": "RssFile", "shared": "RssShmem"}
"""What each kind is called in /proc/self/status."""
_PROCESSES = Path("/proc")


def resident_bytes() -> dict[str, int]:
    """Bytes of this process that lie in memory now, by kind; all 0 where the system does not say.

    `anonymous` is heap, stacks and the like; `file` is programs and mapped files, pages that the system may drop and
    read again; `shared` is shared memory, such as the blocks of Ray's object store that were looked at here.
    """
    return bytes_of_process("self", KINDS)


def bytes_of_process(process: int | str, fields: Mapping[str, str]) -> dict[str, int]:
    """Some sizes of a process, in bytes.

    Args:
        process: Its number, or `self`.
        fields: What each size is called in /proc/PID/status, by the name that it is to have here.

    Returns:
        By name; 0 for what the system does not say, as where the process has ended.
    """
    try:
        lines = (_PROCESSES / str(process) / "status").read_text().splitlines()
    except OSError:
        return dict.fromkeys(fields, 0)
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: 1024 * int(found[field].split()[0]) if field in found else 0 for name, field in fields.items()}
