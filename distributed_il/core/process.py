"""Environment variables of a process that takes training steps; the C library and OpenMP read them as it starts."""

from __future__ import annotations


def process_environment(threads: int) -> dict[str, str]:
    """The variables, by name.

    Args:
        threads: Threads that the process may use for one operation.

    Returns:
        OMP_NUM_THREADS and what glibc's allocator reads.
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
