"""Whether a dataset can be as large as its manifest says, before anybody asks for memory for it."""

from __future__ import annotations

from distributed_il.core.errors import UserError
from distributed_il.data.dataset.feature_codes import codes_name, values_name
from distributed_il.data.dataset.index_files import indptr_name, items_name
from distributed_il.data.dataset.manifest import ITEMS_NAME, USERS_NAME, Entity, Manifest

MAX_LANES = 512
"""Every lane of a large split holds a file open while it is written."""
_ROWS_PER_BYTE = 1000
"""More than a compressed table of distinct ids or pairs can hold."""
_INDEXES = ("observed", "logged")


def check_declared_sizes(manifest: Manifest, place: str, cure: str) -> None:
    """Holds the sizes that a manifest declares against each other and against the bytes of the files.

    Args:
        manifest: Its sizes in bytes are those of the files.
        place: Where it lies, for the message.
        cure: What to do, for the message.

    Raises:
        UserError: They contradict each other, or the files are too small.
    """

    def require(holds: bool, what: str) -> None:
        if not holds:
            raise UserError(f"{place}: {what}; {cure}")

    require(1 <= manifest.lanes <= MAX_LANES, f"lanes is {manifest.lanes}; it lies from 1 to {MAX_LANES}")
    for name, split in manifest.splits.items():
        require(split.rows == sum(file.rows for file in split.files), f"{name} has other rows than its files together")
        for file in split.files:
            require(0 <= file.lane < manifest.lanes, f"{file.path} is of lane {file.lane} of {manifest.lanes}")
            whole = file.rows == sum(file.row_groups) and min(file.row_groups, default=0) >= 0
            require(whole, f"{file.path} has other rows than its row groups together")
            require(file.rows <= file.bytes * _ROWS_PER_BYTE, f"{file.path} can't hold {file.rows:,} rows in its bytes")
    widths = [column.width for columns in manifest.features.values() for column in columns]
    require(min(widths, default=1) >= 1, "a side feature has no width")
    rows, sizes = ({file.path: getattr(file, key) for file in manifest.tables} for key in ("rows", "bytes"))
    least = _least_bytes(manifest)
    for path, (wanted, bytes_of_rows) in least.items():
        require(path in rows, f"it does not list {path}")
        require(wanted in (None, rows[path]), f"{path} has {rows[path]:,} rows instead of {wanted or 0:,}")
        require(
            sizes[path] >= rows[path] * bytes_of_rows, f"{path} can't hold {rows[path]:,} rows in {sizes[path]:,} bytes"
        )


def _least_bytes(manifest: Manifest) -> dict[str, tuple[int | None, float]]:
    """Returns, for each table that has to be there, its rows, where they follow, and the least bytes of a row."""
    sizes: dict[Entity, int] = {"users": manifest.num_users, "items": manifest.num_items}
    found: dict[str, tuple[int | None, float]] = {
        USERS_NAME: (manifest.num_users, 1 / _ROWS_PER_BYTE),
        ITEMS_NAME: (manifest.num_items, 1 / _ROWS_PER_BYTE),
    }
    listed = {file.path for file in manifest.tables}
    for index in _INDEXES:
        if index == _INDEXES[0] or items_name(index) in listed:
            found |= {indptr_name(index): (manifest.num_users + 1, 8), items_name(index): (None, 4)}
    for entity, ids in sizes.items():
        if columns := manifest.features.get(entity, ()):
            found[codes_name(entity)] = (ids * sum(column.width for column in columns), 1)
            found[values_name(entity)] = (sum(column.values for column in columns), 1 / _ROWS_PER_BYTE)
    return found
