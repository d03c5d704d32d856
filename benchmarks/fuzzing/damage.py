"""Damage to the bytes of a file, at random, as readers trip over it."""

from __future__ import annotations

import numpy as np

INTERESTING = (
    *(b"", b"-1", b"0", b"1", b"2", b"nan", b"inf", b"-inf", b"1e400", b"9" * 25, b"0x10", b" 7", b"+5", b"null"),
    *(b"1.5", b"-0", b"1e3", b"\xff", b"\x00", b'"', b'"a', b"\r", b"\xef\xbb\xbf", "١".encode(), b"::", b"NA", b"007"),
    *(b"0123", b"7.0", b"1.23E+10", b"NULL", b"None", b" ", b"12e4", b"2020-07-05 05:27:48"),
)
"""Fields that readers trip over."""
BYTES = b"0123456789,\t:;\"\n\r \x00\xff-+.eExX'\\"
"""Bytes likewise."""


def damage(data: bytes, rng: np.random.Generator, delimiter: bytes) -> bytes:
    """Damages bytes in one to three ways.

    Args:
        data: At least a byte.
        rng: Decides how and where.
        delimiter: Of fields.
    """
    for _ in range(int(rng.integers(1, 4))):
        data = _DAMAGES[int(rng.integers(len(_DAMAGES)))](data, rng, delimiter) or b"\n"
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    return int(rng.integers(len(data) + 1))


def _byte(rng: np.random.Generator) -> bytes:
    return BYTES[(n := int(rng.integers(len(BYTES)))) : n + 1] if rng.random() < 0.7 else rng.bytes(1)


def _replace(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    place = _place(data, rng)
    return data[:place] + _byte(rng) + data[place + 1 :]


def _insert(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    place = _place(data, rng)
    return data[:place] + _byte(rng) + data[place:]


def _delete(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    place = _place(data, rng)
    return data[:place] + data[place + int(rng.integers(1, 9)) :]


def _truncate(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    return data[: _place(data, rng)]


def _repeat(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    start = _place(data, rng)
    part = data[start : start + int(rng.integers(1, 60))]
    place = _place(data, rng)
    return data[:place] + part + data[place:]


def _field(data: bytes, rng: np.random.Generator, delimiter: bytes) -> bytes:
    lines = data.split(b"\n")
    number = int(rng.integers(len(lines)))
    fields = lines[number].split(delimiter)
    fields[int(rng.integers(len(fields)))] = INTERESTING[int(rng.integers(len(INTERESTING)))]
    lines[number] = delimiter.join(fields)
    return b"\n".join(lines)


def _noise(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    place = _place(data, rng)
    return data[:place] + rng.bytes(int(rng.integers(1, 20))) + data[place:]


def _drop_line(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    lines = data.split(b"\n")
    del lines[int(rng.integers(len(lines)))]
    return b"\n".join(lines)


_DAMAGES = (_replace, _replace, _insert, _delete, _truncate, _repeat, _field, _field, _field, _noise, _drop_line)
