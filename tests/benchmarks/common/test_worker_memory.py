"""A process that stands in for a worker, its memory watched and limited from outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.common.worker_memory import WorkerMemory

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc is Linux's")
MEGABYTES = 64
HOLD = f"""
import sys
sys.stdin.readline()
try:
    held = bytearray({MEGABYTES} << 20)
    print("held", flush=True)
except MemoryError:
    print("refused", flush=True)
sys.stdin.readline()
"""


@contextmanager
def stand_in() -> Generator[tuple[subprocess.Popen[str], bytes]]:
    """A process that takes its memory when told to, and how its command line begins."""
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process, "\0".join(command).encode()
        process.kill()


def say(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_the_most_that_a_worker_takes_is_seen() -> None:
    with stand_in() as (process, name):
        with WorkerMemory(name=name) as memory:
            assert memory.started.wait(60)
            assert say(process) == "held"
        assert memory.workers == 1
        assert memory.most["anonymous"] > MEGABYTES << 20
        assert memory.most["data"] > MEGABYTES << 20
        assert memory.most["file"] > 0


def test_a_worker_keeps_to_its_limit() -> None:
    with stand_in() as (process, name), WorkerMemory(MEGABYTES << 20, name=name) as memory:
        assert memory.started.wait(60)
        assert say(process) == "refused"


def test_without_a_worker_nothing_is_seen() -> None:
    with WorkerMemory(name=b"no such worker") as memory:
        pass
    assert memory.workers == 0
    assert not any(memory.most.values())
