from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from benchmarks.common.command import command_line
from distributed_il.core.process import process_environment

PROGRAM = """
import os, sys
print("started", flush=True)
from benchmarks.common.command import start_as_worker
start_as_worker(threads=3)
print(os.environ["OMP_NUM_THREADS"], os.environ["MALLOC_MMAP_THRESHOLD_"], sys.argv[1:], flush=True)
"""


def output(environment: Mapping[str, str]) -> list[str]:
    """Lines that a program prints that was started with this environment beside that of the tests."""
    rest = {name: value for name, value in os.environ.items() if name not in process_environment(1)}
    command = [sys.executable, "-c", PROGRAM, "--out", "a b"]
    return subprocess.run(
        command, env=rest | dict(environment), check=True, capture_output=True, text=True
    ).stdout.splitlines()


def test_a_process_starts_once_more_with_the_environment_of_a_worker_and_the_same_arguments() -> None:
    assert output({}) == ["started", "started", "3 1073741824 ['--out', 'a b']"]


def test_what_the_caller_set_stays() -> None:
    assert output({"OMP_NUM_THREADS": "2"})[-1].startswith("2 1073741824")
    whole = process_environment(2) | {"MALLOC_MMAP_THRESHOLD_": "1", "MALLOC_TRIM_THRESHOLD_": "1"}
    assert output(whole) == ["started", "2 1 ['--out', 'a b']"]


def test_options_that_every_benchmark_has() -> None:
    arguments = command_line("Why?").parse_args([])
    assert (arguments.out, arguments.quick) == ("benchmarks/results", False)
    with pytest.raises(SystemExit):
        command_line(None).parse_args(["--qick", "x"])
