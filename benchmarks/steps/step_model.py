"""A model of the time of a step over several ranks, fitted to measured collectives and steps.

With k = max(1, ranks / cores), because ranks beyond the cores take turns on them:

    collective = k · (per call + per hop · hops + per byte · bytes moved)
    step = k · (step of one rank + per wait · collectives + per row · rows reduced + per byte · bytes reduced
                + per byte · bytes updated) + Σ collectives

A wait is what a collective costs more within a step than in a row of its like: ranks do not come to it together.
Hops and bytes moved are those of gloo's rings: W − 1 hops with the tensor each for all_gather, 2 (W − 1) hops with a
W-th of it for all_reduce; all_to_all sends W − 1 parts. All coefficients are at least 0, and errors count relatively.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.steps.rank_steps import KINDS, Case, Kind, Tables
from benchmarks.steps.step_traffic import Call, Traffic

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CollectiveTime:
    """A measured collective: its kind, ranks, bytes of a rank, and seconds."""

    kind: Kind
    world_size: int
    size: float
    seconds: float


@dataclass(frozen=True, slots=True)
class StepTime:
    """A measured step: its case, where rows are kept, ranks, what ranks add, and seconds."""

    case: Case
    tables: Tables
    world_size: int
    traffic: Traffic
    seconds: float


@dataclass(frozen=True, slots=True)
class Network:
    """What lies between ranks besides what was measured on loopback.

    Attributes:
        latency_s: Seconds that each hop of a ring takes more; the parts of an all_to_all travel at once.
        bytes_per_s: Bytes a second at the most.
    """

    latency_s: float = 0.0
    bytes_per_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class StepModel:
    """Fitted coefficients, all in seconds.

    Attributes:
        cores: Cores that the ranks share.
        collectives: For each kind: per call, per hop, per byte.
        alone: Step of one rank, by case.
        added: Per wait, per row reduced, per byte reduced, per byte updated.
    """

    cores: int
    collectives: Mapping[Kind, tuple[float, float, float]]
    alone: Mapping[Case, float]
    added: tuple[float, ...]

    def collective_s(self, call: Call, world_size: int, network: Network | None = None) -> float:
        """Seconds of one collective on loopback, or over a network with a core for every rank.

        Args:
            call: Kind and size.
            world_size: Ranks.
            network: What lies between them.
        """
        per_call, per_hop, per_byte = self.collectives[call.kind]
        hops, moved = ring(call.kind, call.size, world_size)
        if network is None:
            return turns(world_size, self.cores) * (per_call + per_hop * hops + per_byte * moved)
        waits = network.latency_s * (1 if call.kind == "swap" else hops)
        return per_call + per_hop * hops + waits + max(per_byte, 1 / network.bytes_per_s) * moved

    def step_s(self, case: Case, traffic: Traffic, world_size: int, network: Network | None = None) -> float:
        """Seconds of a step, likewise.

        Args:
            case: The step.
            traffic: What ranks add to it.
            world_size: Ranks.
            network: What lies between them.
        """
        own = self.alone[case] + float(np.dot(self.added, _added(traffic)))
        between = sum(call.count * self.collective_s(call, world_size, network) for call in traffic.calls)
        return own * (turns(world_size, self.cores) if network is None else 1.0) + between


def turns(world_size: int, cores: int) -> float:
    """k: how many times as long work takes that ranks do side by side."""
    return max(1.0, world_size / cores)


def ring(kind: Kind, size: float, world_size: int) -> tuple[int, float]:
    """Hops of a collective, and bytes that a rank sends in them.

    Args:
        kind: Which collective.
        size: Bytes of a rank: its tensor, or what it has for all other ranks together.
        world_size: Ranks.
    """
    others = world_size - 1
    if kind == "reduce":
        return 2 * others, 2 * size * others / world_size
    return others, size if kind == "swap" else size * others


def fit(collectives: Sequence[CollectiveTime], steps: Sequence[StepTime], cores: int) -> StepModel:
    """Fits the model: first the collectives, then the steps with the collectives taken off.

    Args:
        collectives: Measured collectives, of two world sizes and two sizes at least.
        steps: Measured steps, of two world sizes at least.
        cores: Cores that the ranks shared.
    """
    costs: dict[Kind, tuple[float, float, float]] = {
        kind: _fit_collective([time for time in collectives if time.kind == kind], cores) for kind in KINDS
    }
    cases = sorted({time.case for time in steps}, key=lambda case: case.name)
    bare = StepModel(cores, costs, dict.fromkeys(cases, 0.0), (0.0,) * 4)
    rows: list[list[float]] = []
    targets: list[float] = []
    for time in steps:
        k = turns(time.world_size, cores)
        left = (time.seconds - bare.step_s(time.case, time.traffic, time.world_size)) / k
        row = [float(time.case == case) for case in cases] + _added(time.traffic)
        rows.append([value * k / time.seconds for value in row])
        targets.append(left * k / time.seconds)
    found = nonnegative_fit(np.array(rows), np.array(targets), free=len(cases)).tolist()
    return StepModel(cores, costs, dict(zip(cases, found, strict=False)), tuple(found[len(cases) :]))


def _fit_collective(times: Sequence[CollectiveTime], cores: int) -> tuple[float, float, float]:
    rows = [
        [
            turns(time.world_size, cores) * value / time.seconds
            for value in (1, *ring(time.kind, time.size, time.world_size))
        ]
        for time in times
    ]
    per_call, per_hop, per_byte = nonnegative_fit(np.array(rows), np.ones(len(rows))).tolist()
    return per_call, per_hop, per_byte


def _added(traffic: Traffic) -> list[float]:
    return [traffic.waits, traffic.reduced_rows, traffic.reduced_bytes, traffic.updated_bytes]


def nonnegative_fit(rows: Floats, targets: Floats, free: int = 0) -> Floats:
    """Least squares with coefficients of at least 0: the best of all choices of those that are 0.

    Args:
        rows: float64 [n, p].
        targets: float64 [n].
        free: So many coefficients, the first ones, are never set to 0 and may have any sign.

    Returns:
        float64 [p].
    """
    size = rows.shape[1]
    scale = np.linalg.norm(rows, axis=0)
    scaled = rows / np.where(scale > 0, scale, 1.0)
    best, least = np.zeros(size), np.inf
    for kept in itertools.chain.from_iterable(
        itertools.combinations(range(free, size), count) for count in range(size - free + 1)
    ):
        chosen = [*range(free), *kept]
        found = np.zeros(size)
        if chosen:
            found[chosen] = np.linalg.lstsq(scaled[:, chosen], targets, rcond=None)[0]
        error = float(np.square(scaled @ found - targets).sum())
        if (found[free:] >= 0).all() and error < least:
            best, least = found, error
    return best / np.where(scale > 0, scale, 1.0)
