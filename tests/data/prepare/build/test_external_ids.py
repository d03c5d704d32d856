"""Ids keep their number from piece to piece, end up sorted, and those known before stay where they were."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distributed_il.core.errors import UserError
from distributed_il.data.prepare.build import external_ids
from distributed_il.data.prepare.build.external_ids import ExternalIds

Ids = list[int] | list[str]


def round_trip(pieces: list[Ids], kind: pa.DataType, known: Ids | None = None) -> None:
    with TemporaryDirectory() as scratch:
        collected = ExternalIds("user", Path(scratch) / "ids", None if known is None else pa.array(known, kind))
        codes = [collected.encode(pa.array(piece, kind)) for piece in pieces]
        numbering = collected.finish()
        vocabulary = numbering.vocabulary.to_pylist()
        before = known or []
        ids = [id_ for piece in pieces for id_ in piece]
        assert vocabulary == [*before, *sorted(set(ids) - set(before))]
        dense = np.concatenate([numbering.dense(number, of_piece) for number, of_piece in enumerate(codes)])
        assert [vocabulary[place] for place in dense] == ids
        assert numbering.rows.tolist() == [ids.count(id_) for id_ in vocabulary]
        assert numbering.vocabulary.type == kind


INTEGERS = st.integers(0, 2**63 - 1) | st.integers(0, 9) | st.integers(2**24 - 2, 2**24 + 2)
STRINGS = st.text(st.characters(max_codepoint=0x2FF), min_size=1, max_size=3)


@settings(max_examples=30)
@given(st.lists(st.lists(INTEGERS, min_size=1), min_size=1), st.none() | st.lists(INTEGERS, min_size=1, unique=True))
def test_integers(pieces: list[list[int]], known: list[int] | None) -> None:
    round_trip([*pieces], pa.int64(), known)


@settings(max_examples=30)
@given(st.lists(st.lists(STRINGS, min_size=1), min_size=1), st.none() | st.lists(STRINGS, min_size=1, unique=True))
def test_strings(pieces: list[list[str]], known: list[str] | None) -> None:
    round_trip([*pieces], pa.string(), known)


def test_integers_sort_as_numbers_and_strings_as_text() -> None:
    round_trip([[10, 9, 2]], pa.int64())
    round_trip([["10", "9", "2"]], pa.string())


def test_ranges_that_grow_too_large_are_cut_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_ids, "RANGE_BYTES", 2_000)
    rng = np.random.default_rng(0)
    # The first piece tells nothing of the ids that come later.
    round_trip([list(range(5)), *(rng.integers(1000, 9999, 300).tolist() for _ in range(4))], pa.int64())
    names = [[f"a-common-beginning-{n}" for n in rng.integers(0, 99999, 300)] for _ in range(4)]
    round_trip([["a"], *names], pa.string())
    # Where nothing tells ids apart within the bytes looked at, they are sorted together all the same.
    round_trip([["x" * 40 + str(n) for n in range(200)]], pa.string())


def test_ids_take_memory_for_a_range_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_ids, "RANGE_BYTES", 100_000)
    collected = ExternalIds("user", tmp_path / "ids")
    for number in range(20):
        collected.encode(pa.array([f"user-{n:030d}" for n in range(number * 10_000, (number + 1) * 10_000)]))
    before = pa.total_allocated_bytes()
    assert before < 1e6
    assert len(collected.finish().vocabulary) == 200_000
    # The ids are 7 MB.
    assert pa.total_allocated_bytes() - before < 1e6
    assert sorted(path.name for path in (tmp_path / "ids").iterdir()) == ["maps", "vocabulary"]


def test_kinds_must_not_mix(tmp_path: Path) -> None:
    collected = ExternalIds("item", tmp_path / "ids")
    collected.encode(pa.array([1]))
    with pytest.raises(UserError, match="item ids are int64 in one file and string in another; set id_type"):
        collected.encode(pa.array(["a"]))
