from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distributed_il.core import process
from distributed_il.core.process import bytes_of_process, resident_bytes


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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc/self/status is Linux's")
def test_memory_that_is_written_to_is_anonymous() -> None:
    before = resident_bytes()["anonymous"]
    held = np.ones(64 << 20, dtype=np.uint8)
    # Nothing else here lets go of as much as half of it meanwhile.
    assert resident_bytes()["anonymous"] - before > held.nbytes // 2
