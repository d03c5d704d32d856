"""Digests of vocabularies, by which a longer one is recognised as the continuation of another."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa


class VocabularyDigest:
    """SHA-256 of external ids in their order; pieces of any length give the same as the whole."""

    def __init__(self) -> None:
        self._kind = ""
        self._lengths, self._content = hashlib.sha256(), hashlib.sha256()

    def add(self, ids: pa.Array) -> None:
        """Takes in the next ids, int64 or string, without nulls."""
        self._kind = str(ids.type)
        if ids.type == pa.int64():
            self._content.update(ids.to_numpy().astype("<i8").tobytes())
            return
        _, offsets, content = ids.buffers()
        ends: Any = np.frombuffer(offsets, dtype=np.int32)[ids.offset : ids.offset + len(ids) + 1]
        # With the lengths beside them, "ab", "c" and "a", "bc" are told apart.
        self._lengths.update(np.diff(ends).astype("<i4").tobytes())
        if content is not None:
            self._content.update(memoryview(content)[int(ends[0]) : int(ends[-1])])

    def hexdigest(self) -> str:
        """Returns the digest of the ids so far, 64 hexadecimal digits."""
        parts = f"{self._kind} {self._lengths.hexdigest()} {self._content.hexdigest()}"
        return hashlib.sha256(parts.encode()).hexdigest()
