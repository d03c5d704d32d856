"""Tests robustness, not speed: kills workers of real runs at random moments and compares what the runs end with.

    python -m benchmarks.worker_kills --kills 30

The stage is that of `benchmarks.faults`: a head and two nodes on this machine. A worker is killed by SIGKILL some
random time after the run has come back from the kill before: in a step, a checkpoint, a validation, amid its results.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import signal
import time

import numpy as np

from benchmarks.common.command import command_line
from benchmarks.common.result import Figure, Result
from benchmarks.faults.outcome import Outcome
from benchmarks.faults.row_ledger import RowLedger, unlike_steps
from benchmarks.faults.stage import LOOK_EVERY_S, SETTINGS, Run, Stage, staged, wait_until
from benchmarks.faults.step_log import ledger_of, silence_s

ROUNDS = "6"
MOST_KILLS_OF_A_RUN = 10
LONGEST_PEACE_S = 4.0
"""Between the first step after a kill and the next kill."""


@dataclasses.dataclass(slots=True)
class Tally:
    """What was seen of all runs."""

    runs: int = 0
    kills: int = 0
    resume_s: list[float] = dataclasses.field(default_factory=list)
    recomputed: list[int] = dataclasses.field(default_factory=list)
    wrong: list[str] = dataclasses.field(default_factory=list)


def main() -> None:
    """Runs the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--kills", type=int, default=30, help="kills at least (30)")
    parser.add_argument("--seed", type=int, default=0, help="decides when whom (0)")
    arguments = parser.parse_args()
    kills = 3 if arguments.quick else arguments.kills
    tally, chance = Tally(), np.random.default_rng(arguments.seed)
    with staged() as stage:
        expected = _trained(stage, "undisturbed")
        while tally.kills < kills:
            run = Run(stage, f"run-{tally.runs}", run_max_rounds=ROUNDS, run_patience=ROUNDS)
            most = min(MOST_KILLS_OF_A_RUN, kills - tally.kills)
            try:
                _disturb(run, most, chance, tally)
            finally:
                run.stop()
            _compare(expected, run, tally)
            print(f"run {tally.runs}: {tally.kills} kills so far; {len(tally.wrong)} mistakes", flush=True)
    _result(tally, kills, arguments.seed).publish(arguments.out)
    if tally.wrong:
        raise SystemExit("\n".join(tally.wrong))


def _trained(stage: Stage, name: str) -> tuple[Outcome, RowLedger]:
    run = Run(stage, name, run_max_rounds=ROUNDS, run_patience=ROUNDS)
    run.start()
    run.wait_for_end()
    return Outcome.of(str(run.dir)), ledger_of(run.entries())


def _disturb(run: Run, most: int, chance: np.random.Generator, tally: Tally) -> None:
    """Starts a run and kills its workers until it has come to its end in spite of it."""
    run.start()
    kills: list[float] = []
    for _ in range(most):
        since = kills[-1] if kills else 0.0
        wait_until(lambda since=since: _stepped(run, since) or run.finished, "the run does not come back")
        _rest(run, chance.uniform(0, LONGEST_PEACE_S))
        workers = run.stage.processes("RayTrainWorker")
        if run.finished or not workers:
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(chance.choice(workers)), signal.SIGKILL)
            kills.append(time.time())
    run.wait_for_end()
    entries = run.entries()
    for kill, following in itertools.pairwise([*kills, float("inf")]):
        tally.kills += 1
        resumed = silence_s([entry for entry in entries if entry.at < following], kill)
        tally.resume_s += [] if resumed is None else [resumed]


def _stepped(run: Run, since: float) -> bool:
    """Whether a process that began after some time has taken a step."""
    entries = run.entries()
    begun = {entry.process for entry in entries if entry.rows is None and entry.at > since}
    return any(entry.process in begun and entry.rows is not None for entry in entries)


def _rest(run: Run, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not run.finished:
        time.sleep(LOOK_EVERY_S)


def _compare(expected: tuple[Outcome, RowLedger], run: Run, tally: Tally) -> None:
    outcome, ledger = Outcome.of(str(run.dir)), ledger_of(run.entries())
    wrong = expected[0].differences(outcome) + outcome.mistakes() + unlike_steps(expected[1], ledger)
    ends = [round["step"] for round in outcome.metrics["history"]]
    wrong += ledger.mistakes(run.stage.dataset.rows("train"), ends)
    tally.runs += 1
    tally.recomputed.append(ledger.computed - ledger.kept)
    if wrong:
        tally.wrong.append(f"run {tally.runs}: {'; '.join(wrong[:6])}")


def _result(tally: Tally, kills: int, seed: int) -> Result:
    ends = f"{len(tally.wrong)} ended otherwise than" if tally.wrong else "all ended as"
    return Result(
        name="worker_kills",
        question="Does a run end with the same model however often its workers are killed?",
        answer=f"{tally.kills} workers killed in {tally.runs} runs, which {ends} the undisturbed one.",
        command="python -m benchmarks.worker_kills --kills 30",
        config=SETTINGS | {"run.max_rounds": ROUNDS, "run.patience": ROUNDS, "kills": kills, "seed": seed},
        figures={
            "kills": Figure([tally.kills], at_least=kills),
            "runs_that_ended_otherwise": Figure([len(tally.wrong)], at_most=0),
            "resume_s": Figure(tally.resume_s),
            "rows_computed_again": Figure(tally.recomputed),
        },
        notes=[
            "Compared: parameters, moments and state of the last and the best checkpoint bit for bit, metrics.json, "
            "all curves of TensorBoard step by step, and the rows of every optimiser step.",
            "resume_s: from a kill to the next step of a new process, if there was a step left to take.",
            *tally.wrong,
        ],
    )


if __name__ == "__main__":
    main()
