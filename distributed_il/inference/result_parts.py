"""Results as a directory of Parquet parts, each written aside and renamed; those that are there are not written again.

OUTPUT/part-00000.parquet …    in the order of the input; counts of rows and of fallbacks stand in the file's metadata
OUTPUT/_manifest.json          what the parts are made from, written first; `finished` and totals once all are there
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from distributed_il.core.documents import Count, read_document
from distributed_il.core.errors import UserError
from distributed_il.core.files import explain_full_disk, filesystem, is_local, read_run_file, to_json, write_run_file
from distributed_il.core.plain_arrow import open_parquet

MANIFEST = "_manifest.json"
"""Readers of Parquet leave files alone that begin with an underscore."""
FORMAT_VERSION = 1
_COUNTS = b"distributed_il.counts"


class _PartsManifest(TypedDict):
    made_from: dict[str, Any]
    finished: bool


@dataclass(frozen=True, slots=True)
class ResultParts:
    """A directory of parts."""

    output: str
    filesystem: pafs.FileSystem
    root: str
    made_from: Mapping[str, Any]  # everything that decides the content

    @classmethod
    def open(cls, output: str, made_from: Mapping[str, Any]) -> ResultParts:
        """Creates the directory, or resumes one that was made from the same.

        Args:
            output: Local path or pyarrow URI.
            made_from: Everything that decides the content, as plain values.

        Raises:
            UserError: It holds something else, or can't be written.
        """
        fs, root = filesystem(output)
        # As it comes back from the file: a tuple as a list.
        made_from = json.loads(to_json({"format_version": FORMAT_VERSION, **made_from}))
        text = read_run_file(output, MANIFEST)
        if text is None:
            info = fs.get_file_info(root)
            taken = info.type == pafs.FileType.Directory and fs.get_file_info(pafs.FileSelector(root))
            if info.type == pafs.FileType.File or taken:
                raise UserError(f"{output} is taken; give a directory that does not exist yet, or empty this one first")
            try:
                with explain_full_disk(output):
                    write_run_file(output, MANIFEST, to_json({"made_from": made_from, "finished": False}))
            except OSError as error:
                raise UserError(f"{output} can't be made ({error}); choose a place you may write to") from error
        else:
            cure = "give another output, or remove that directory"
            before = read_document(text, _PartsManifest, f"{output}/{MANIFEST}", cure)
            _require_same(output, before["made_from"], made_from)
        return cls(output, fs, root, made_from)

    def path(self, number: int) -> str:
        """Returns the path of a part on the filesystem."""
        return f"{self.root}/part-{number:05d}.parquet"

    def finished(self, parts: int) -> dict[int, Counter[str]]:
        """Returns the parts that are there, each with its counts."""
        paths = {self.path(number): number for number in range(parts)}
        listed = self.filesystem.get_file_info(pafs.FileSelector(self.root))
        return {paths[info.path]: self._counts(info.path) for info in listed if info.path in paths}

    def write(
        self, number: int, schema: pa.Schema, tables: Iterable[tuple[pa.Table, Mapping[str, int]]]
    ) -> Counter[str]:
        """Writes a part, whose tables come each with what it adds to the counts; returns the counts of the part.

        Raises:
            UserError: The disk is full.
        """
        path, counts = self.path(number), Counter[str]()
        aside = f"{path}.tmp" if is_local(self.filesystem) else path
        try:
            with (
                explain_full_disk(path),
                self.filesystem.open_output_stream(aside, compression=None) as sink,
                pq.ParquetWriter(sink, schema, compression="zstd") as writer,
            ):
                for table, counted in tables:
                    writer.write_table(table)
                    counts.update(counted)
                writer.add_key_value_metadata({_COUNTS.decode(): json.dumps(counts)})
        except BaseException:
            # In an object store, what was written until now would stand under the part's own name.
            self.filesystem.delete_file(aside)
            raise
        if aside != path:
            self.filesystem.move(aside, path)
        return counts

    def finish(self, parts: int, counts: Mapping[str, int]) -> None:
        """Records in the manifest that all parts are there."""
        content = {"made_from": self.made_from, "finished": True, "parts": parts, "counts": dict(counts)}
        write_run_file(self.output, MANIFEST, to_json(content))

    def _counts(self, path: str) -> Counter[str]:
        cure = "it is no part of a result, or damaged: remove it"
        with open_parquet(self.filesystem, path, cure) as file:
            counts = (file.metadata.metadata or {}).get(_COUNTS, b"")
        return Counter(read_document(counts, dict[str, Count], f"{path}, the counts of its rows", cure))


def _require_same(output: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differing = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if differing:
        name = differing[0]
        raise UserError(
            f"{output} was made from {name} {_short(before.get(name))}, and this is {_short(now.get(name))}; give "
            "another output, or remove that directory"
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


CountedTable = tuple[pa.Table, Mapping[str, int]]
"""Rows of a result, and what they add to its counts."""


class Work(Protocol):
    """A result in parts, sent to the processes that write them; those of one machine share its arrays."""

    @property
    def schema(self) -> pa.Schema:
        """Of the result."""
        ...

    @property
    def rows(self) -> Sequence[int]:
        """Rows of each part that are worked on, for progress; 0 where unknown."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that are shared."""
        ...

    @property
    def made_from(self) -> Mapping[str, Any]:
        """Everything that decides the result, as plain values."""
        ...

    def tables(self, part: int) -> Iterator[CountedTable]:
        """Yields a part, some rows at a time.

        Raises:
            UserError: Its input is damaged, or holds what can't be read.
        """
        ...
