"""Ids keep their number from piece to piece, whichever way they are looked up, and end up sorted."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distributed_il.errors import UserError
from distributed_il.prepare.id_encoder import IdEncoder


def round_trip(pieces: list[list[int]] | list[list[str]], kind: pa.DataType) -> None:
    encoder = IdEncoder("user")
    numbers = [encoder.encode(pa.array(piece, kind)) for piece in pieces]
    vocabulary, ranks, rows = encoder.sorted()
    ids = [id_ for piece in pieces for id_ in piece]
    assert vocabulary.type == kind
    assert vocabulary.to_pylist() == sorted(set(ids))
    dense = np.concatenate([ranks[piece] for piece in numbers])
    assert [vocabulary[place].as_py() for place in dense] == ids
    assert rows.tolist() == [ids.count(id_) for id_ in vocabulary.to_pylist()]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 9) | st.integers(2**24 - 2, 2**24 + 2))))
def test_integers(pieces: list[list[int]]) -> None:
    if pieces:
        round_trip(pieces, pa.int64())


@settings(deadline=None)
@given(st.lists(st.lists(st.text(st.characters(max_codepoint=0x2FF), min_size=1, max_size=3)), min_size=1))
def test_strings(pieces: list[list[str]]) -> None:
    round_trip(pieces, pa.string())


def test_integers_sort_as_numbers_and_strings_as_text() -> None:
    for kind, expected in ((pa.int64(), [2, 9, 10]), (pa.string(), ["10", "2", "9"])):
        encoder = IdEncoder("item")
        encoder.encode(pa.array([10, 9, 2], pa.int64()).cast(kind))
        assert encoder.sorted()[0].to_pylist() == expected


def test_kinds_must_not_mix() -> None:
    encoder = IdEncoder("item")
    encoder.encode(pa.array([1]))
    with pytest.raises(UserError, match="item ids are int64 in one file and string in another; set id_type"):
        encoder.encode(pa.array(["a"]))
