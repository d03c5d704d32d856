"""Damage to files of a scene: as disks, copies and people do it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.damage.scene import DATA, RUN, STOPPED

KINDS = ("flip", "flip", "flip", "truncate", "append", "empty", "delete", "zero", "swap", "replace")
"""Flips three times: they are the damage that nothing but a hash finds."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """What is done to which file.

    Attributes:
        kind: One of `KINDS`.
        path: Of the file, in the scene.
        contents: What files hold afterwards, by their path in the scene; None where one is gone.
    """

    kind: str
    path: Path
    contents: dict[Path, bytes | None]


def files_of(root: Path) -> list[Path]:
    """Returns all files of the scene's dataset and runs, in order, by their paths in it."""
    places = [root / name for name in (DATA, RUN, STOPPED)]
    return sorted(path.relative_to(root) for place in places for path in place.rglob("*") if path.is_file())


def mutate(root: Path, other: Path, number: int, seed: int) -> Mutation:
    """Draws a mutation of a whole scene: of each file in turn, whatever its size.

    Args:
        root: The scene.
        other: Another, to take files from.
        number: Of the mutation.
        seed: Decides with the number what is drawn.
    """
    rng, files = np.random.default_rng([seed, number]), files_of(root)
    path, kind = files[number % len(files)], KINDS[int(rng.integers(len(KINDS)))]
    content = (root / path).read_bytes()
    if kind in ("swap", "replace"):
        there = _partner(path, files, rng) if kind == "swap" else _same_place(path, files_of(other), rng)
        taken = ((root if kind == "swap" else other) / there).read_bytes()
        return Mutation(kind, path, {there: content, path: taken} if kind == "swap" else {path: taken})
    return Mutation(kind, path, {path: _damaged(kind, content, rng)})


def _damaged(kind: str, content: bytes, rng: np.random.Generator) -> bytes | None:
    if kind == "delete":
        return None
    if kind == "empty":
        return b""
    if kind == "append":
        return content + rng.bytes(int(rng.integers(1, 64)))
    place = int(rng.integers(max(len(content), 1)))
    if kind == "truncate":
        return content[:place]
    if kind == "zero":
        end = min(place + int(rng.integers(1, 4096)), len(content))
        return content[:place] + bytes(end - place) + content[end:]
    damaged = bytearray(content)
    if damaged:
        damaged[place] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def _partner(path: Path, files: list[Path], rng: np.random.Generator) -> Path:
    """A file of the same kind beside it, or any of that ending."""
    alike = [one for one in files if one.suffix == path.suffix and one.parts[0] == path.parts[0] and one != path]
    return alike[int(rng.integers(len(alike)))] if alike else path


def _same_place(path: Path, files: list[Path], rng: np.random.Generator) -> Path:
    """The file of that name, wherever it is called after what it holds."""
    alike = [one for one in files if one.name == path.name and one.parts[0] == path.parts[0]]
    alike = alike or [one for one in files if one.suffix == path.suffix and one.parts[0] == path.parts[0]]
    return path if path in files else alike[int(rng.integers(len(alike)))]
