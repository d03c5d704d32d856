"""Tests robustness, not speed: kills short runs a thousand times at random points and compares their results.

    python -m benchmarks.kill_points

Everything below Ray is real: steps, exchanges, checkpoints, validation, results, TensorBoard files; ranks are threads.
A kill ends one rank at a random point: before, after or amid an operation on files, around each collective (so also
between the candidates' collective and the update of an inverse step), around each step and each line for TensorBoard;
what TensorBoard's writer had not handed over is lost. The others end at their next collective, and the run is started
again, now and then with another number of ranks. A run that ends is compared with an undisturbed one.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.result import Figure, Result
from benchmarks.faults.kill_switch import KillableCollectives, KillPoint, KillSwitch, killable_files, run_ranks
from benchmarks.faults.killable_monitor import KillableMonitor, blank_pictures
from benchmarks.faults.outcome import Outcome
from benchmarks.faults.row_ledger import LedgerMethod, RowLedger, unlike_steps
from distributed_il.core.config import TrainConfig, config_from_dict
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.data.prepare.simulate.simulator import SimulateConfig, simulate
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.monitor import NullMonitor
from distributed_il.training.run_hooks import RunHooks
from distributed_il.training.trainer import Trainer

GLOBAL_BATCH = 64
ROUNDS = 2
CHECKPOINT_EVERY_STEPS = 4
MOST_KILLS_OF_A_RUN = 8
OTHER_RANKS_EVERY = 4
"""Every so many runs go on with another number of ranks after a kill."""
TOLERANCE = 1e-4
"""Between runs whose numbers of ranks differ: sums are then rounded in another order."""
_ONE_AT_A_TIME = threading.Lock()
"""Initial weights come from torch's one generator, which a rank has for itself where it is a process."""


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """A kind of run."""

    backbone: str
    method: str
    tables: str
    ranks: int
    factors: int = 0

    @property
    def name(self) -> str:
        """For people."""
        factors = f", {self.factors} factors" if self.factors else ""
        return f"{self.backbone} {self.method} {self.tables} × {self.ranks}{factors}"

    def config(self, data: str, run_dir: str, ranks: int) -> TrainConfig:
        """The run's configuration with some number of ranks."""
        model = {
            "backbone": self.backbone,
            "embedding_dim": 4,
            "init_std": 0.1,
            "dtype": "float64",
            "factors": self.factors,
        }
        run = {
            "dir": run_dir,
            "workers": ranks,
            "batch_size": GLOBAL_BATCH // ranks,
            "max_rounds": ROUNDS,
            "patience": ROUNDS,
            "checkpoint_every_steps": CHECKPOINT_EVERY_STEPS,
        }
        method = {"name": self.method} | ({"test_share": 0.4} if self.method == "ig" else {})
        sections = {"model": model | {"tables": self.tables}, "run": run, "method": method}
        return config_from_dict({"data": {"path": data}, "optimizer": {"learning_rate": 0.01}, **sections})


CASES = (
    Case("gmf", "ig", "replicated", 2),
    Case("neumf", "ig", "sharded", 2),
    Case("gmf", "ig", "replicated", 1),
    Case("gmf", "ig", "sharded", 4),
    Case("neumf", "none", "replicated", 2),
    Case("gmf", "none", "sharded", 2),
    Case("neumf", "idl", "replicated", 4),
    Case("gmf", "idl", "replicated", 1),
    Case("bias_mf", "ig", "sharded", 2, factors=4),
    Case("bias_mf", "ordinal", "replicated", 2, factors=4),
    Case("bias_mf", "none", "replicated", 1, factors=4),
)


class DisturbedRun:
    """A run of some processes, each of which may be killed.

    Attributes:
        ledger: The rows of its steps.
    """

    def __init__(self, case: Case, dataset: Dataset, run_dir: str) -> None:
        """Names the run; nothing is started.

        Args:
            case: What it trains.
            dataset: On what.
            run_dir: An empty directory.
        """
        self.ledger = RowLedger()
        self._case, self._dataset, self._dir = case, dataset, run_dir
        self._attempts = 0

    def left(self, steps: int) -> float:
        """Share of the run that its last checkpoint has not in it.

        Args:
            steps: Of the whole run.
        """
        last = CheckpointStore(self._dir).manifest("last")
        return 1 - (last["step"] if last else 0) / steps

    def start(self, ranks: int, switch: KillSwitch, chance: np.random.Generator) -> bool:
        """Trains from the last checkpoint on.

        Args:
            ranks: How many.
            switch: Kills one of them.
            chance: Decides what is lost of TensorBoard's files.

        Returns:
            Whether the run has come to its end.
        """
        config = self._case.config(self._dataset.path, self._dir, ranks)
        last = CheckpointStore(self._dir).manifest("last")
        self._attempts += 1
        monitor = KillableMonitor(
            self._dir,
            purge_step=0 if last is None else last["step"] + 1,
            attempt=self._attempts,
            switch=switch,
        )
        self.ledger.go_back(0 if last is None else last["step"])

        def rank(collectives: KillableCollectives) -> None:
            with _ONE_AT_A_TIME:
                trainer = Trainer(
                    config,
                    self._dataset,
                    reader=LocalBlockReader(self._dataset),
                    collectives=collectives,
                    device=torch.device("cpu"),
                    hooks=RunHooks(monitor=NullMonitor() if collectives.rank else monitor),
                )
            trainer.method = LedgerMethod(trainer.method, self.ledger, switch)
            trainer.run()

        with killable_files(switch), blank_pictures():
            done = run_ranks(ranks, switch, rank)
        if done is None:
            monitor.lose(chance)
        else:
            monitor.close()
        return done is not None


@dataclasses.dataclass(slots=True)
class Tally:
    """What was seen of all runs.

    Attributes:
        runs: Runs that were killed at least once.
        moved: Those of them that went on with another number of ranks.
        kills: Kills by place.
        cases: Kills by case.
        rows_kept: Rows in the final models.
        rows_computed: Rows computed, those computed again included.
        faults: What was wrong, in words.
    """

    runs: int = 0
    moved: int = 0
    kills: Counter[str] = dataclasses.field(default_factory=Counter)
    cases: Counter[str] = dataclasses.field(default_factory=Counter)
    rows_kept: int = 0
    rows_computed: int = 0
    faults: list[str] = dataclasses.field(default_factory=list)


class Hunt:
    """Undisturbed runs of some cases, and disturbed ones beside them."""

    def __init__(self, cases: Sequence[Case], place: Path, *, seed: int) -> None:
        """Makes the dataset and the undisturbed runs.

        Args:
            cases: Kinds of runs.
            place: An empty directory.
            seed: Decides every kill.
        """
        self.tally = Tally()
        self._place, self._chance = place, np.random.default_rng(seed)
        self._dataset = _simulated(place / "data")
        self._undisturbed = {case: self._run_undisturbed(case) for case in cases}

    def kill_some(self, case: Case) -> None:
        """Makes one run, kills it up to eight times, and compares its end.

        Args:
            case: What kind of run.
        """
        expected, ledger, points = self._undisturbed[case]
        run_dir = self._place / "run"
        run, ranks, kills = DisturbedRun(case, self._dataset, str(run_dir)), case.ranks, list[KillPoint]()
        steps = len(ledger.steps())
        moves = self._chance.integers(OTHER_RANKS_EVERY) == 0
        for _ in range(self._chance.integers(1, MOST_KILLS_OF_A_RUN, endpoint=True)):
            point = self._point({key: count for key, count in points.items() if key[0] < ranks}, left=run.left(steps))
            if run.start(ranks, KillSwitch(point), self._chance):
                break
            kills.append(point)
            ranks = int(self._chance.choice([1, 2, 4])) if moves else ranks
        else:
            assert run.start(ranks, KillSwitch(), self._chance)
        self._take_in(case, kills, run.ledger, moved=moves and bool(kills))
        found = Outcome.of(str(run_dir))
        wrong = expected.differences(found, tolerance=TOLERANCE if moves else 0.0) + found.mistakes()
        wrong += run.ledger.mistakes(self._dataset.rows("train"), _round_ends(found))
        wrong += unlike_steps(ledger, run.ledger)
        if wrong:
            self.tally.faults.append(f"{case.name} after {kills}: {'; '.join(wrong[:6])}")
        shutil.rmtree(run_dir)

    def _take_in(self, case: Case, kills: Sequence[KillPoint], ledger: RowLedger, *, moved: bool) -> None:
        tally = self.tally
        tally.runs += bool(kills)
        tally.moved += moved
        tally.kills.update(point.place for point in kills)
        tally.cases[case.name] += len(kills)
        tally.rows_kept += ledger.kept
        tally.rows_computed += ledger.computed

    def _point(self, points: Mapping[tuple[int, str], int], left: float) -> KillPoint:
        """A point of an undisturbed run: every place is as likely as another, so that the rare ones are met.

        Args:
            points: How many a whole run passes, by rank and place.
            left: Share of the run that is left.
        """
        rank = int(self._chance.choice(sorted({rank for rank, _ in points})))
        place = str(self._chance.choice(sorted(place for other, place in points if other == rank)))
        return KillPoint(
            rank, place, int(self._chance.integers(1, max(1, round(left * points[rank, place])), endpoint=True))
        )

    def _run_undisturbed(self, case: Case) -> tuple[Outcome, RowLedger, Counter[tuple[int, str]]]:
        run_dir, switch = self._place / "undisturbed", KillSwitch()
        run = DisturbedRun(case, self._dataset, str(run_dir))
        assert run.start(case.ranks, switch, self._chance)
        found = Outcome.of(str(run_dir))
        wrong = found.mistakes() + run.ledger.mistakes(self._dataset.rows("train"), _round_ends(found))
        if wrong:
            raise AssertionError(f"undisturbed {case.name}: {wrong}")
        shutil.rmtree(run_dir)
        return found, run.ledger, switch.seen


def _simulated(path: Path) -> Dataset:
    simulate(
        SimulateConfig(
            output=str(path),
            num_users=80,
            num_items=100,
            num_positives=480,
            num_negatives=320,
            num_unclear=700,
            lanes=8,
            policy_strength=1.0,
        )
    )
    return Dataset.open(str(path))


def _round_ends(found: Outcome) -> list[int]:
    return [round["step"] for round in found.metrics["history"]]


def hunt(cases: Sequence[Case], place: Path, *, kills: int, seed: int) -> Tally:
    """Kills runs of all cases in turns.

    Args:
        cases: Kinds of runs.
        place: An empty directory.
        kills: At least so many.
        seed: Decides every kill.
    """
    hunting = Hunt(cases, place, seed=seed)
    for case in itertools.cycle(cases):
        if hunting.tally.kills.total() >= kills:
            break
        hunting.kill_some(case)
    return hunting.tally


def main() -> None:
    """Runs the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="kills at least (1000)")
    parser.add_argument("--seed", type=int, default=0, help="decides every kill (0)")
    arguments = parser.parse_args()
    start_as_worker()
    torch.set_num_threads(1)
    kills = 40 if arguments.quick else arguments.kills
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        tally = hunt(CASES, Path(place), kills=kills, seed=arguments.seed)
    _result(tally, kills, arguments.seed, time.perf_counter() - started).publish(arguments.out)
    if tally.faults:
        raise SystemExit("\n".join(tally.faults))


def _result(tally: Tally, kills: int, seed: int, seconds: float) -> Result:
    total = tally.kills.total()
    ends = f"all ended as undisturbed ones did ({tally.moved} of them went on with other numbers of ranks)"
    if tally.faults:
        ends = f"{len(tally.faults)} ended otherwise"
    figures = {
        "kills": Figure([total], at_least=kills),
        "runs": Figure([tally.runs]),
        "runs_that_ended_otherwise": Figure([len(tally.faults)], at_most=0),
        "runs_with_other_ranks": Figure([tally.moved]),
        "rows_in_models": Figure([tally.rows_kept]),
        "rows_computed_again": Figure([tally.rows_computed - tally.rows_kept]),
        "duration_s": Figure([seconds]),
    }
    figures |= {f"kills_{place.replace(' ', '_')}": Figure([count]) for place, count in sorted(tally.kills.items())}
    return Result(
        name="kill_points",
        question="Does a run that is killed anywhere and started again end as if nothing had happened?",
        answer=f"{total} kills in {tally.runs} runs; {ends}.",
        command="python -m benchmarks.kill_points",
        config={
            "kills": kills,
            "seed": seed,
            "cases": [case.name for case in CASES],
            "rounds": ROUNDS,
            "global_batch": GLOBAL_BATCH,
            "checkpoint_every_steps": CHECKPOINT_EVERY_STEPS,
            "tolerance_with_other_ranks": TOLERANCE,
        },
        figures=figures,
        notes=[
            "Compared: parameters, moments and state of the last and the best checkpoint bit for bit, metrics.json, "
            "all curves of TensorBoard step by step, and the rows of every step; each round has every row once.",
            "A run that went on with another number of ranks: the same rows in the same steps, metrics and curves "
            "within the tolerance.",
            "Each place (candidates: around the collective of an inverse step's three losses) is as likely as another.",
            *tally.faults[:20],
        ],
    )


if __name__ == "__main__":
    main()
