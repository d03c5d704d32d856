"""What does drawing unlabelled pairs cost?

Draws for the rows of one batch (1,024) and of one window of batches (16 × 1,024, what the trainer asks for at once)
from an index of ten million observed pairs with the counts of the paper's Table 1 and power-law activity, for each
source of pairs. Every repeat takes other rows and another round.

    python -m benchmarks.sampling
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.measuring import interleaved_seconds
from benchmarks.common.result import Figure, Result
from distributed_il.data.loading.loader import window_steps
from distributed_il.data.sampling import PairIndex, Source, UnlabelledSampler

TARGET_MS = 0.25
"""For 1,024 pairs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is drawn from and how often."""

    num_users: int = 37_692
    """Users."""
    num_items: int = 131_690
    """Items."""
    observed_pairs: int = 10_000_000
    """Distinct training pairs."""
    logged_pairs: int = 2_000_000
    """Distinct logged unclear pairs."""
    batch: int = 1024
    """Rows of a batch; each gets one pair."""
    repeats: int = 200
    """Draws of each kind that are timed."""
    seed: int = 0
    """Of the simulated pairs and of the draws."""


def simulated_pairs(num_users: int, num_items: int, pairs: int, generator: np.random.Generator) -> PairIndex:
    """Distinct pairs of power-law activity: user number n is met in proportion to 1 / √n, item number n likewise.

    Args:
        num_users: Users; the most active ones come first.
        num_items: Items; the most popular ones come first.
        pairs: Distinct pairs; they should be few beside num_users · num_items, for repetitions are drawn again.
        generator: Where chance comes from.
    """
    keys = np.empty(0, dtype=np.int64)
    while keys.size < pairs:
        # u² of a uniform u has a density in proportion to 1 / √x.
        size = pairs - keys.size + pairs // 10
        users = (num_users * generator.random(size) ** 2).astype(np.int64)
        items = (num_items * generator.random(size) ** 2).astype(np.int64)
        keys = np.sort(np.concatenate((keys, users * num_items + items)))
        keys = keys[np.append(True, keys[1:] != keys[:-1])]
    keys = np.sort(generator.permutation(keys)[:pairs])
    return PairIndex.from_pairs(keys // num_items, keys % num_items, num_users)


class Draws:
    """Calls of one sampler, each with the next rows of a shuffled pass, and from its end with those of its begin."""

    def __init__(self, sampler: UnlabelledSampler, users: NDArray[np.int64], rows: int) -> None:
        """Takes the users of the labelled rows in their order, int64 [n], and the rows of a call."""
        self._sampler, self._users, self._rows = sampler, users, rows
        self._numbers = np.arange(users.size)
        self._calls = 0

    def __call__(self) -> None:
        """Draws once."""
        start = self._calls * self._rows % (self._users.size - self._rows + 1)
        self._calls += 1
        part = slice(start, start + self._rows)
        self._sampler.draw(self._users[part], self._numbers[part], round=self._calls)


def measure(plan: Plan) -> dict[str, Figure]:
    """Builds the indexes and times all draws in turns.

    Args:
        plan: Sizes.

    Returns:
        Milliseconds for `batch` pairs by source and rows of a call, and the bytes of the index by observed pair.
    """
    generator = np.random.default_rng(plan.seed)
    observed = simulated_pairs(plan.num_users, plan.num_items, plan.observed_pairs, generator)
    logged = simulated_pairs(plan.num_users, plan.num_items, plan.logged_pairs, generator)
    # The labelled rows of a shuffled pass: a user comes as often as it has pairs.
    users = np.repeat(np.arange(plan.num_users), observed.degrees(np.arange(plan.num_users)))
    users = generator.permutation(users)
    calls: dict[str, Callable[[], None]] = {}
    for source in get_args(Source):
        sampler = UnlabelledSampler(observed, plan.num_items, plan.seed, source, logged)
        calls[f"{source}_batch_ms"] = Draws(sampler, users, plan.batch)
        calls[f"{source}_window_ms"] = Draws(sampler, users, plan.batch * window_steps(plan.batch))
    seconds = interleaved_seconds(calls, repeats=plan.repeats, warm_up=max(plan.repeats // 10, 1))
    figures: dict[str, Figure] = {}
    for name, samples in seconds.items():
        batches = window_steps(plan.batch) if name.endswith("window_ms") else 1
        figures[name] = Figure([1e3 * sample / batches for sample in samples], at_most=TARGET_MS)
    size = observed.indptr.nbytes + observed.items.nbytes
    return figures | {"index_bytes_per_pair": Figure([size / observed.items.size])}


def main() -> None:
    """Measures, prints and writes the report."""
    arguments = command_line(__doc__).parse_args()
    start_as_worker()
    plan = Plan(observed_pairs=1_000_000, logged_pairs=200_000, repeats=50) if arguments.quick else Plan()
    figures = measure(plan)
    missed = [name for name, figure in figures.items() if figure.met is False]
    Result(
        name="sampling",
        question="What does drawing unlabelled pairs cost?",
        answer=f"At most {TARGET_MS} ms for {plan.batch:,} pairs are allowed: "
        + (f"missed by {', '.join(missed)}." if missed else "met by every source, in batches and in windows."),
        command="python -m benchmarks.sampling" + (" --quick" if arguments.quick else ""),
        config=asdict(plan) | {"window_rows": plan.batch * window_steps(plan.batch)},
        figures=figures,
        notes=(
            f"All milliseconds are for {plan.batch:,} pairs; a window draws {window_steps(plan.batch)} times as many.",
            "One thread. The machine is shared with other work and noisy: compare within the table.",
            *(("--quick: a tenth of the pairs, which shortens every search.",) if arguments.quick else ()),
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
