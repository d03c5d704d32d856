"""Tests robustness, not speed: plays every fault of the table on real nodes and compares how the runs end.

    python -m benchmarks.faults                    # or `make faults`
    python -m benchmarks.faults --only partition   # some rows

A head and two nodes run on this machine, in namespaces of their own where this user may make them. One run is left in
peace; each other one meets a fault, and has to end with the same bits, metrics and curves, every row counted once.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence

from benchmarks.common.command import command_line
from benchmarks.common.result import Figure, Result
from benchmarks.faults.outcome import Outcome
from benchmarks.faults.row_ledger import RowLedger, unlike_steps
from benchmarks.faults.rows import ROWS, Fault
from benchmarks.faults.stage import PATIENCE_S, SETTINGS, Run, Stage, staged
from benchmarks.faults.step_log import ledger_of, silence_s
from cluster.local.namespaces import have_rights

TOLERANCE = 1e-4
"""Of metrics and curves, where the number of workers changes: sums are then rounded in another order."""


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """What a fault did.

    Attributes:
        fault: In words.
        identical: Whether the run ended as the undisturbed one; with other numbers of workers but for rounding.
        resume_s: Seconds from the fault to the next step.
        rows_recomputed: Rows that were computed again.
        total_s: Seconds of the whole run.
        wrong: What was not as it should be.
    """

    fault: str
    identical: bool
    resume_s: float | None
    rows_recomputed: int | None
    total_s: float
    wrong: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Undisturbed:
    """The run in peace."""

    outcome: Outcome
    ledger: RowLedger
    total_s: float

    @classmethod
    def on(cls, stage: Stage) -> Undisturbed:
        """Trains it."""
        started = time.monotonic()
        run = Run(stage, "undisturbed")
        run.start()
        run.wait_for_end()
        found = cls(Outcome.of(str(run.dir)), ledger_of(run.entries()), time.monotonic() - started)
        wrong = found.outcome.mistakes() + _uncounted(stage, found.ledger, found.outcome)
        if wrong:
            raise AssertionError(f"the undisturbed run: {'; '.join(wrong)}")
        return found


def play(stage: Stage, fault: Fault, expected: Undisturbed) -> Row:
    """Plays one row of the table.

    Args:
        stage: Where.
        fault: The row.
        expected: The run in peace.
    """
    started = time.monotonic()
    run = Run(stage, fault.name, **fault.settings)
    try:
        at = fault.disturb(run)
        run.wait_for_end()
        found = Outcome.of(str(run.dir))
        entries = run.entries()
        ledger = ledger_of(entries)
        wrong = expected.outcome.differences(found, tolerance=TOLERANCE if fault.elastic else 0.0) + found.mistakes()
        wrong += _uncounted(stage, ledger, found) + unlike_steps(expected.ledger, ledger)
        recomputed = ledger.computed - ledger.kept
        return Row(fault.words, not wrong, silence_s(entries, at), recomputed, time.monotonic() - started, wrong)
    except (AssertionError, ChildProcessError, TimeoutError) as error:
        return Row(fault.words, False, None, None, time.monotonic() - started, [str(error), run.said()])
    finally:
        run.stop()


def _uncounted(stage: Stage, ledger: RowLedger, outcome: Outcome) -> list[str]:
    return ledger.mistakes(stage.dataset.rows("train"), [round["step"] for round in outcome.metrics["history"]])


def main() -> None:
    """Runs the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--only", action="append", choices=list(ROWS), help="this row; may be given several times")
    arguments = parser.parse_args()
    names = arguments.only or [name for name, row in ROWS.items() if have_rights() or not row.needs_rights]
    with staged() as stage:
        expected = Undisturbed.on(stage)
        print(f"undisturbed: {expected.total_s:.0f} s", flush=True)
        rows: dict[str, Row] = {}
        for name in names:
            row = rows[name] = play(stage, ROWS[name], expected)
            print(f"{name}: {'identical' if row.identical else 'NOT identical'}, {row.total_s:.0f} s", flush=True)
            for line in row.wrong[:10]:
                print(f"  {line}", flush=True)
    if not arguments.only:
        _result(rows, expected).publish(arguments.out)
    told = [
        {
            "fault": row.fault,
            "identical": row.identical,
            "resume_s": None if row.resume_s is None else round(row.resume_s, 1),
            "rows_recomputed": row.rows_recomputed,
        }
        for row in rows.values()
    ]
    print(json.dumps({"rows": told}))


def _result(rows: dict[str, Row], expected: Undisturbed) -> Result:
    good = sum(row.identical for row in rows.values())
    figures = {"identical": Figure([good], at_least=len(rows)), "undisturbed_s": Figure([expected.total_s])}
    for name, row in rows.items():
        if row.resume_s is not None and row.rows_recomputed is not None:
            figures[f"{name}_resume_s"] = Figure([row.resume_s])
            figures[f"{name}_rows_recomputed"] = Figure([row.rows_recomputed])
    return Result(
        name="faults",
        question="Does a run on two nodes end with the same model and curves when something fails?",
        answer=f"{good} of {len(rows)} faults left a run that ended as the undisturbed one did, each row counted once.",
        command="make faults",
        config=SETTINGS | {"nodes": "a head and two nodes of one CPU", "patience_s": PATIENCE_S},
        figures=figures,
        notes=[
            "Compared: parameters, moments and state of the last and the best checkpoint bit for bit, metrics.json, "
            "all curves of TensorBoard step by step, and the rows of every optimiser step.",
            f"node_killed goes on with one worker: the same rows in the same steps, metrics within {TOLERANCE:g}.",
            "resume_s: from the fault to the next step that a new process took, or the longest pause where none began; "
            "rows_recomputed: rows that were computed and lost, and so computed again.",
            *(f"{name}: {row.fault}" + "".join(f"; {line}" for line in row.wrong[:3]) for name, row in rows.items()),
        ],
    )


if __name__ == "__main__":
    main()
