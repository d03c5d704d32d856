"""The process that takes training steps: the environment that it starts with, and the memory that it uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

KINDS = {"anonymous": "RssAnon", "file": "RssFile", "shared": "RssShmem"}
"""What each kind is called in /proc/self/status."""
_PROCESSES = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")
"""Of the container's limits, as it sees them itself (version 2)."""


def process_environment(threads: int) -> dict[str, str]:
    """Returns the environment variables for it, which the C library and OpenMP read as it starts.

    OMP_NUM_THREADS is `threads`, which the process may use for one operation; the others are for glibc's allocator.
    """
    return {
        "OMP_NUM_THREADS": str(threads),
        # Temporaries of a step are reused instead of returned to the system at each step. Plain numbers: the C
        # library reads "1G" as one byte.
        "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
        "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
        # One heap for the step and one for all other threads. With glibc's 8 a core, each pass's threads fall to other
        # heaps, each of which keeps what it once held: some hundred megabytes within an hour.
        "MALLOC_ARENA_MAX": "2",
        # Tables in huge pages: a row at random is then found in a quarter less time.
        "THP_MEM_ALLOC_ENABLE": "1",
    }


def resident_bytes() -> dict[str, int]:
    """Returns the bytes of this process in memory, by kind; all 0 where the system does not say.

    `anonymous` is heap, stacks and the like; `file` is programs and mapped files, pages that the system may drop and
    read again; `shared` is shared memory, such as the blocks of Ray's object store that were looked at here.
    """
    return bytes_of_process("self", KINDS)


def available_bytes() -> int:
    """Returns the bytes of memory that processes of this machine or container can still take; 2⁶² if nobody says."""
    found = [1 << 62]
    try:
        lines = (_PROCESSES / "meminfo").read_text().splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
        limit, used = ((_CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        statistics = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        if limit != "max":
            # What is used counts file pages that would be dropped first.
            found.append(max(int(limit) - int(used) + int(statistics["inactive_file"]), 0))
    except OSError:
        pass
    return min(found)


def bytes_of_process(process: int | str, fields: Mapping[str, str]) -> dict[str, int]:
    """Reads sizes of a process (its number, or `self`) in bytes, by name; 0 for what the system does not say.

    `fields` gives, for each name, what /proc/PID/status calls the size.
    """
    try:
        lines = (_PROCESSES / str(process) / "status").read_text().splitlines()
    except OSError:
        return dict.fromkeys(fields, 0)
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: 1024 * int(found[field].split()[0]) if field in found else 0 for name, field in fields.items()}
