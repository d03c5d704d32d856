"""Reads text byte for byte: counts its lines as an editor does, finds them again, and cuts ranges out of it."""

from __future__ import annotations

import codecs
import io
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
from numpy.typing import NDArray

from distributed_il.data.prepare.sources.known_logs import compression_of

_LINE_FEED, _RETURN = 10, 13
_LINE_END = re.compile("\r\n|\r|\n")
_CHUNK_BYTES = 1 << 20
_BLOCK_BYTES = 2 << 20
_CHARACTER_BYTES = 4
_REST_S = 0.1
"""A thread that reads ahead and has not come back within this time has read enough for now."""
_SHOWN = 80
SUBSTITUTE = "\x1a"
"""ASCII's substitute character, for bytes that are no UTF-8."""
SEPARATOR = "\x1f"
"""ASCII's unit separator, for a delimiter of several characters."""
_SUBSTITUTE_ERRORS = "distributed_il.substitute"


def _substitute(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return SUBSTITUTE * (error.end - error.start), error.end


codecs.register_error(_SUBSTITUTE_ERRORS, _substitute)


class LineCounter:
    """Finds the ends of lines in bytes that come in pieces: a line feed, a return, or both together end one."""

    def __init__(self) -> None:
        self._before = _LINE_FEED  # the byte before the first: a line begins
        self.lines = 0
        """Lines that have ended."""
        self.filled = 0
        """Those of them that are not blank."""

    def feed(self, data: bytes) -> NDArray[np.bool_]:
        """Counts on; returns whether each line that ended within the next bytes is not blank, as bool."""
        if not data:
            return np.zeros(0, dtype=np.bool_)
        values = np.frombuffer(data, dtype=np.uint8)
        previous = np.append(np.uint8(self._before), values[:-1])
        feeds, returns = values == _LINE_FEED, values == _RETURN
        # Of a return and a line feed the first ends the line and the second is nothing.
        ends = np.flatnonzero(returns | (feeds & (previous != _RETURN)))
        filled = (previous[ends] != _LINE_FEED) & (previous[ends] != _RETURN)
        self._before = int(values[-1])
        self.lines += ends.size
        self.filled += int(filled.sum())
        return filled

    @property
    def in_line(self) -> bool:
        """Whether a line has begun that has not ended."""
        return self._before not in (_LINE_FEED, _RETURN)

    def finish(self) -> None:
        """Counts a last line without an end."""
        if self.in_line:
            self.lines += 1
            self.filled += 1


def shown_line(text: str) -> str:
    """Returns the begin of a line, for messages."""
    return text.replace(SUBSTITUTE, "\ufffd")[:_SHOWN]


def open_text(fs: pafs.FileSystem, path: str, encoding: str | None = None) -> Any:
    """Opens a text, its compression undone, as a stream of UTF-8, which it is where `encoding` is None."""
    stream = fs.open_input_stream(path, compression=compression_of(path))
    return stream if encoding is None else pa.transcoding_input_stream(stream, encoding, "utf-8")


class TextStream(io.RawIOBase):
    """A stream of text that counts its lines, and replaces bytes that are no UTF-8, one by one, by `SUBSTITUTE`.

    A delimiter of several bytes becomes `SEPARATOR`.
    """

    def __init__(self, stream: Any, delimiter: str = ",") -> None:
        super().__init__()
        self._wide = delimiter.encode() if len(delimiter.encode()) > 1 else b""
        self._begun = b""
        self.delimiter = SEPARATOR if self._wide else delimiter
        """What parts the fields in what is read."""
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")(_SUBSTITUTE_ERRORS)
        self._stopped, self._reading = False, threading.Lock()
        self._ended = threading.Event()
        self.counter = LineCounter()
        """What has gone through so far."""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._wide:
            return self._text(size)
        text = self._text(size - len(self._begun) if size >= 0 else size)
        parted = (self._begun + text).replace(self._wide, SEPARATOR.encode())
        # The end may be the beginning of a delimiter, which the next bytes end.
        begun = (
            next((n for n in range(len(self._wide) - 1, 0, -1) if parted.endswith(self._wide[:n])), 0) if text else 0
        )
        self._begun = parted[len(parted) - begun :]
        parted = parted[: len(parted) - begun]
        return parted or (self.read(size) if text else b"")

    def _text(self, size: int) -> bytes:
        if self._stopped:
            self._ended.set()
            return b""
        # A character that the last bytes have begun comes with these, and there must be room for it.
        with self._reading:
            data: bytes = self._stream.read(max(size - _CHARACTER_BYTES, 1) if size >= 0 else None)
        self.counter.feed(data)
        if not data:
            self._ended.set()
        if data.isascii() and data and not self._decoder.getstate()[0]:
            return data
        text = self._decoder.decode(data, final=not data).encode()
        return text or (self._text(size) if data else b"")

    def stop(self) -> None:
        """Ends the stream for a thread of Arrow's that reads ahead, and waits until it knows.

        One that still reads when the interpreter ends takes the process down with it.
        """
        self._stopped = True
        with self._reading:  # what is being read comes to its end
            pass
        self._ended.wait(_REST_S)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def line_blocks(fs: pafs.FileSystem, path: str, encoding: str | None = None) -> Iterator[list[str]]:
    """Reads the lines of a text that are not blank, some at a time; bytes that are no UTF-8 become `SUBSTITUTE`."""
    with TextStream(open_text(fs, path, encoding)) as stream:
        rest, first = "", True
        while data := stream.read(_BLOCK_BYTES):
            text = data.decode()
            *lines, rest = _LINE_END.split(rest + (text.removeprefix("\ufeff") if first else text))
            first = False
            if lines := [line for line in lines if line]:
                yield lines
    if rest:
        yield [rest]


def line_numbers(
    fs: pafs.FileSystem, path: str, ordinals: Sequence[int], start: int = 0, encoding: str | None = None
) -> list[int]:
    """Finds the line numbers, from 1, of lines that are known by their place among those that are not blank.

    These `ordinals` count from 1 and ascend; one beyond the end gives the line after the last. Lines count from the
    byte `start` on, in a file that is not compressed; compression is undone by the path's name.
    """
    wanted = np.asarray(ordinals, dtype=np.int64)
    found = np.zeros(wanted.size, dtype=np.int64)
    counter, done = LineCounter(), 0
    with open_text(fs, path, encoding) as stream:
        while start > 0 and (chunk := stream.read(min(start, _CHUNK_BYTES))):
            counter.feed(chunk)
            start -= len(chunk)
        wanted = wanted + counter.filled + counter.in_line
        while done < wanted.size and (chunk := stream.read(_CHUNK_BYTES)):
            lines, filled = counter.lines, counter.filled
            places = np.flatnonzero(counter.feed(chunk))
            here = wanted[done : np.searchsorted(wanted, counter.filled, side="right")]
            found[done : done + here.size] = lines + places[here - filled - 1] + 1
            done += here.size
    found[done:] = counter.lines + 1
    return found.tolist()


def lines_within(fs: pafs.FileSystem, path: str, within: tuple[int, int], header_lines: int) -> bytes:
    """Reads the header and the lines whose first byte lies in a range of bytes: the first, and the one behind the last.

    The file is not compressed and its lines end in line feeds; the header, of `header_lines`, belongs to every range.
    """
    start, stop = within
    with io.BufferedReader(fs.open_input_file(path)) as file:
        header = b"".join(file.readline() for _ in range(header_lines))
        if start > len(header):
            # A line that begins exactly at the start is told by the line end just before.
            file.seek(start - 1)
            file.readline()
        body = file.read(max(stop - file.tell(), 0))
        rest = b"" if body.endswith(b"\n") or not body else file.readline()
    return header + body + rest
