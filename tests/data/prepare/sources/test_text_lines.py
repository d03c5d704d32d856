"""Lines are counted as an editor counts them, wherever the bytes are cut."""

from __future__ import annotations

import io
import threading
from functools import partial
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributed_il.data.prepare.sources import text_lines
from distributed_il.data.prepare.sources.text_lines import LineCounter, TextStream, line_numbers


@given(st.text("ab\r\n", max_size=30), st.integers(1, 7))
def test_against_universal_newlines(text: str, size: int) -> None:
    counter = LineCounter()
    data = text.encode()
    for start in range(0, len(data), size):
        counter.feed(data[start : start + size])
    counter.finish()
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = lines if lines[-1] else lines[:-1]
    assert counter.lines == len(lines)
    assert counter.filled == sum(bool(line) for line in lines)


def test_numbers_of_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "_CHUNK_BYTES", 5)
    path = tmp_path / "x.txt"
    path.write_bytes(b"first\n\n\nsecond\r\n\r\nthird\rfourth\n")
    assert line_numbers(pafs.LocalFileSystem(), str(path), [1, 2, 3, 4, 5]) == [1, 4, 6, 7, 8]
    assert line_numbers(pafs.LocalFileSystem(), str(path), [2, 4]) == [4, 7]
    assert line_numbers(pafs.LocalFileSystem(), str(path), []) == []


def test_a_stream_that_is_stopped_has_ended_for_whoever_reads_on() -> None:
    """A thread of Arrow's that still read when the interpreter ended took the process down with it."""
    begun, let_go, read = threading.Event(), threading.Event(), list[bytes]()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            begun.set()
            let_go.wait()
            return super().read(size)

    stream = TextStream(Slow(b"a,b\n" * 100))
    reading = threading.Thread(target=lambda: read.extend(iter(partial(stream.read, 40), b"")))
    reading.start()
    begun.wait()
    stopping = threading.Thread(target=stream.stop)
    stopping.start()
    while not stream._stopped:  # pyright: ignore[reportPrivateUsage]
        pass
    let_go.set()
    stopping.join()
    reading.join()
    assert len(read) <= 1
    assert stream.read(10) == b""


@pytest.mark.parametrize("size", [5, 6, 7, 9, 64])
def test_a_delimiter_of_several_characters_is_found_wherever_reading_stops(size: int) -> None:
    text = "a::b:c::::d\n:::é::|\n1::2::"
    stream = TextStream(io.BytesIO(text.encode()), "::")
    found = b"".join(iter(lambda: stream.read(size), b"")).decode()
    assert found == text.replace("::", stream.delimiter)
    stream.counter.finish()
    assert stream.counter.filled == 3
