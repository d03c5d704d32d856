"""Memory of this process by kind: its own, mapped from files, and shared with other processes."""

from __future__ import annotations

from pathlib import Path

KINDS = {"anonymous": "RssAnon", "file": "RssFile", "shared": "RssShmem"}
"""What each kind is called in /proc/self/status."""
_STATUS = Path("/proc/self/status")


def resident_bytes() -> dict[str, int]:
    """Bytes of this process that lie in memory now, by kind; all 0 where the system does not say.

    `anonymous` is heap, stacks and the like; `file` is programs and mapped files, pages that the system may drop and
    read again; `shared` is shared memory, such as the blocks of Ray's object store that were looked at here.
    """
    if not _STATUS.exists():
        return dict.fromkeys(KINDS, 0)
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    return {kind: 1024 * int(fields[name].split()[0]) for kind, name in KINDS.items()}
