"""Records in a file without a name."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from distributed_il.core.errors import UserError
from distributed_il.core.record_file import RecordFile

RECORD = np.dtype([("number", np.int64), ("label", np.int8)])


def records(*numbers: int) -> np.ndarray:
    found = np.empty(len(numbers), RECORD)
    found["number"], found["label"] = numbers, [number % 2 for number in numbers]
    return found


def test_what_was_appended_and_written_is_read() -> None:
    file = RecordFile(RECORD, "numbers")
    assert file.records().size == 0
    file.append(records(1, 2))
    before = file.records()
    file.append(records(3))
    file.write(1, records(5))
    assert before["number"].tolist() == [1, 5]  # the same pages
    assert file.records()["number"].tolist() == [1, 5, 3]
    assert file.records()["label"].tolist() == [1, 1, 1]


def test_the_file_has_no_name_and_is_closed_with_the_records() -> None:
    file = RecordFile(RECORD, "numbers")
    number = file._file
    assert os.fstat(number).st_nlink == 0
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_full_disk_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = RecordFile(RECORD, "the numbers")
    file.append(records(1))
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(UserError, match=r"the numbers can't be written, 18 bytes at 9 \(No space left.*TMPDIR"):
        file.append(records(2, 3))
    assert file.records()["number"].tolist() == [1]
