"""What the allocator makes of a worker's environment, and what a process is told to take of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distributed_il.core import process
from distributed_il.core.process import available_bytes, bytes_of_process, process_environment, resident_bytes

THREADS, MIB = 12, 8
MEMORY_OF_THREADS = f"""
import queue, threading
import numpy as np
from distributed_il.core.process import resident_bytes

def serve(orders, done):
    while orders.get():
        np.ones({MIB} << 20, dtype=np.uint8)  # freed at once
        done.put(None)

orders, done = [queue.SimpleQueue() for _ in range({THREADS})], queue.SimpleQueue()
threads = [threading.Thread(target=serve, args=(order, done)) for order in orders]
for thread in threads:
    thread.start()
before = resident_bytes()["anonymous"]
for order in orders:
    order.put(True)
    done.get()
print((resident_bytes()["anonymous"] - before) >> 20)
for order in orders:
    order.put(False)
"""


def kept_mib(environment: dict[str, str]) -> int:
    """Memory that stays when each of some threads has used a little, one after another."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | environment
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_OF_THREADS], env=variables, text=True, capture_output=True, check=True
    )
    return int(done.stdout)


def test_what_one_thread_has_freed_another_one_takes() -> None:
    wanted = process_environment(1)
    assert kept_mib(wanted) <= 2 * MIB
    without = {name: value for name, value in wanted.items() if name != "MALLOC_ARENA_MAX"}
    assert kept_mib(without) > 2 * MIB  # so the setting is what does it


def test_kinds_are_read_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = tmp_path / "self" / "status"
    status.parent.mkdir()
    status.write_text("Name:\tpython\nVmRSS:\t  77 kB\nRssAnon:\t  50 kB\nRssFile:\t  20 kB\nRssShmem:\t   7 kB\n")
    monkeypatch.setattr(process, "_PROCESSES", tmp_path)
    assert resident_bytes() == {"anonymous": 51_200, "file": 20_480, "shared": 7_168}
    assert bytes_of_process("self", {"all": "VmRSS", "data": "VmData"}) == {"all": 78_848, "data": 0}


def test_a_system_that_does_not_say_gives_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PROCESSES", tmp_path)
    assert resident_bytes() == {"anonymous": 0, "file": 0, "shared": 0}


@pytest.mark.parametrize(
    ("limit", "available"),
    [
        ("5000000", 5_000_000 - 4_000_000 + 300_000),  # what is dropped first counts as free
        ("3000000", 0),
        ("max", 2_048_000),
        ("9000000", 2_048_000),  # the machine has less than the container may take
        (None, 2_048_000),
    ],
)
def test_what_can_be_taken_is_the_machines_or_the_containers(
    limit: str | None, available: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:    2000 kB\n")
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit + "\n")
        (tmp_path / "memory.current").write_text("4000000\n")
        (tmp_path / "memory.stat").write_text("anon 3500000\ninactive_file 300000\n")
    monkeypatch.setattr(process, "_PROCESSES", tmp_path)
    monkeypatch.setattr(process, "_CGROUP", tmp_path)
    assert available_bytes() == available


def test_without_anything_said_there_is_no_end_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PROCESSES", tmp_path)
    monkeypatch.setattr(process, "_CGROUP", tmp_path)
    assert available_bytes() == 1 << 62


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc/self/status is Linux's")
def test_memory_that_is_written_to_is_anonymous() -> None:
    before = resident_bytes()["anonymous"]
    held = np.ones(64 << 20, dtype=np.uint8)
    # Nothing else here lets go of as much as half of it meanwhile.
    assert resident_bytes()["anonymous"] - before > held.nbytes // 2
