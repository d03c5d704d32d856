"""A document is what its type declares, or the message names the key that is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from distributed_il.core.documents import Count, Measured, Size, read_document
from distributed_il.core.errors import UserError, require


@dataclass(frozen=True, kw_only=True)
class Part:
    rows: Size
    name: str = "x"

    def __post_init__(self) -> None:
        require(self.name != "bad", "name is bad")


class Document(TypedDict):
    kind: Literal["a", "b"]
    parts: list[Part]
    shape: tuple[Count, float]
    columns: int | Literal["auto"]
    losses: NotRequired[dict[str, Measured | None]]
    other: NotRequired[Any]


WHOLE = '"kind": "a", "parts": [{"rows": 1}], "shape": [0, 2], "columns": "auto"'


def read(text: str) -> Document:
    return read_document(text, Document, "FILE", "restore it")


def test_a_whole_document_is_read() -> None:
    found = read(f'{{{WHOLE}, "losses": {{"p": NaN, "q": null, "r": 1e999}}, "more": 1}}')
    assert found["parts"] == [Part(rows=1)]
    assert found["shape"] == (0, 2)
    assert found["columns"] == "auto"
    assert "more" in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "FILE is not JSON"),
        ("[" * 100_000, "FILE is not JSON"),
        ("", "FILE is not JSON"),
        ("[]", r"the document is \[\]; it must be an object"),
        ('{"kind": "a"}', "parts is missing"),
        (f'{{{WHOLE}, "kind": "c"}}', 'kind is "c"; it must be "a" or "b"'),
        (f'{{{WHOLE}, "kind": ["a"]}}', r'kind is \["a"\]; it must be "a" or "b"'),
        (f'{{{WHOLE}, "parts": {{}}}}', "parts is {}; it must be a list"),
        (f'{{{WHOLE}, "parts": [{{"rows": 0}}]}}', r"parts\[0\]\.rows is 0; it must be from 1 to"),
        (f'{{{WHOLE}, "parts": [{{"rows": true}}]}}', r"parts\[0\]\.rows is true; it must be a whole number"),
        (f'{{{WHOLE}, "parts": [{{"rows": 1.0}}]}}', r"parts\[0\]\.rows is 1\.0; it must be a whole number"),
        (f'{{{WHOLE}, "parts": [{{"rows": 1, "row": 1}}]}}', r"parts\[0\]\.row is unknown here"),
        (f'{{{WHOLE}, "parts": [{{"rows": 1, "name": "bad"}}]}}', r"parts\[0\] can't be: name is bad"),
        (f'{{{WHOLE}, "shape": [1]}}', "shape has 1 values; it must have 2"),
        (f'{{{WHOLE}, "shape": [1, NaN]}}', r"shape\[1\] is NaN; it must be finite"),
        (f'{{{WHOLE}, "shape": [1, 1{"0" * 400}]}}', r"shape\[1\] is 1000.*…; it must be finite"),
        (f'{{{WHOLE}, "shape": [-1, 0]}}', r"shape\[0\] is -1; it must be from 0"),
        (f'{{{WHOLE}, "columns": 1.5}}', r'columns is 1\.5; it must be a whole number or "auto"'),
        (f'{{{WHOLE}, "columns": {10**30}}}', 'columns is 1000.*; it must be a whole number or "auto"'),
        (f'{{{WHOLE}, "losses": {{"p": "1"}}}}', r'losses\.p is "1"; it must be a number or null'),
        (f'{{{WHOLE}, "columns": {"9" * 5000}}}', "FILE is not JSON"),
    ],
)
def test_what_does_not_fit_is_told_by_its_key(text: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"{message}.*; restore it$"):
        read(text)
