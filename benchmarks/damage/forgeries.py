"""Documents that are JSON and yet not what they should be: with a key gone, of another type or out of any range."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.damage.mutations import Mutation, files_of

_STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**12, 10**30, 0.5, -1e308, math.nan, math.inf, "", "x", "\0", "../x", "9" * 300),
    *([], {}, [None], {"x": 1}, [[[]]]),
)


def forge(root: Path, number: int, seed: int) -> Mutation:
    """Draws a forgery of one of a scene's documents, each in turn; every other one with hashes that fit it.

    Args:
        root: The scene.
        number: Of the forgery.
        seed: Decides with the number what is drawn.
    """
    rng = np.random.default_rng([seed, 1, number])
    documents = [path for path in files_of(root) if path.suffix == ".json"]
    path = documents[number % len(documents)]
    content = json.loads((root / path).read_text())
    forged = copy.deepcopy(content)
    places = _places(forged)
    for _ in range(int(rng.integers(1, 3))):
        keys = places[int(rng.integers(len(places)))]
        _change(forged, keys, rng)
    fits = number // len(documents) % 2 == 1
    kind = "forged" if fits else "edited"
    if fits:
        sign(forged, content)
    return Mutation(kind, path, {path: json.dumps(forged).encode()})


def sign(forged: dict[str, Any], before: dict[str, Any]) -> None:
    """Makes the hashes that a document holds of itself fit it, as anybody can; dataset and run fit each other no more.

    Args:
        forged: The document.
        before: What it was.
    """
    if isinstance(before.get("fingerprint"), str) and len(before) > 1:
        left_out = ("fingerprint", "sha256", "created") if "created" in before else ("fingerprint", "sha256")
        content = {name: value for name, value in forged.items() if name not in left_out}
        forged["fingerprint"] = hashlib.sha256(
            json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
        ).hexdigest()
    for name in ("sha256", "manifest_sha256"):
        if isinstance(before.get(name), str):
            content = {key: value for key, value in forged.items() if key != name}
            forged[name] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _places(value: Any, keys: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Returns the keys that lead to each value of a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, one in inner for place in ((*keys, key), *_places(one, (*keys, key)))]


def _change(document: Any, keys: tuple[Any, ...], rng: np.random.Generator) -> None:
    *before, last = keys
    for key in before:
        if not isinstance(document, dict | list) or (isinstance(document, dict) and key not in document):
            return  # the change before this one has taken it away
        if isinstance(document, list) and (not isinstance(key, int) or key >= len(document)):
            return
        document = document[key]
    if isinstance(document, dict) and rng.random() < 0.3:
        document.pop(last, None)
    elif isinstance(document, dict) or (isinstance(document, list) and isinstance(last, int) and last < len(document)):
        document[last] = copy.deepcopy(_STRANGE[int(rng.integers(len(_STRANGE)))])
