"""Random numbers of a simulation, of which each follows from its seed, its purpose and its place alone."""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.counter_rng import SIMULATE, hash_u64


class Stream(IntEnum):
    """What generators are for; one of its own for each keeps one draw from shifting another."""

    POPULATION = 0
    DURATIONS = 1
    CALIBRATION = 2
    FIRST_SHOWN = 3
    EXPOSURE = 4
    WATCHES = 5
    THINNING = 6


class Purpose(IntEnum):
    """What numbers by counter hash are for."""

    USER_ARRIVAL = auto()
    ITEM_ARRIVAL = auto()
    FIRST_USER = auto()
    FIRST_DAY = auto()
    USER_ESTIMATE = auto()
    ITEM_ESTIMATE = auto()
    DAY = auto()
    CANDIDATE = auto()
    CHOICE = auto()
    INTEREST = auto()
    BROKEN_OFF = auto()
    BROKEN_OFF_AT = auto()


def generator(seed: int, *stream: int) -> np.random.Generator:
    """Makes the random generator of a part of a simulation: `stream` tells which part, and which chunk of it."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, SIMULATE, *stream])))


def uniforms(seed: int, purpose: Purpose, *counters: NDArray[Any] | int) -> NDArray[np.float64]:
    """Numbers uniform over (0, 1) by counter hash, float64 of the counters' broadcast shape."""
    hashes = hash_u64(seed, SIMULATE, purpose, *counters)
    return ((hashes >> np.uint64(11)) + 0.5) / 2**53


def normals(seed: int, purpose: Purpose, *counters: NDArray[Any] | int) -> NDArray[np.float32]:
    """Standard normal numbers by counter hash (Box and Muller), float32 of the counters' broadcast shape."""
    hashes = hash_u64(seed, SIMULATE, purpose, *counters)
    radius = ((hashes >> np.uint64(32)) + 0.5) / 2**32
    angle = (hashes & np.uint64(0xFFFFFFFF)) * (2 * np.pi / 2**32)
    return (np.sqrt(-2 * np.log(radius)) * np.cos(angle)).astype(np.float32)
