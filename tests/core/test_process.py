"""What the allocator makes of a worker's environment."""

from __future__ import annotations

import os
import subprocess
import sys

from distributed_il.core.process import process_environment

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
