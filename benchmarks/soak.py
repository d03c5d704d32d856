"""Tests robustness, not speed: trains with two workers for a long time and watches every process for growth.

    python -m benchmarks.soak --minutes 30     # or `make soak`

The run is a user's command, with a Ray of its own; a process of it that lives throughout is to grow neither in memory
nor in files nor in threads. Replicas are compared at every checkpoint; were they to differ, the run would end.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.common.command import command_line
from benchmarks.common.process_samples import ProcessSamples, Track
from benchmarks.common.result import Figure, Result
from distributed_il.data.prepare.simulate.simulator import SimulateConfig, simulate
from distributed_il.training.checkpoint import CheckpointStore

ROWS = 1_200_000
WORKERS = 2
CHECKPOINT_EVERY_STEPS = 200
SAMPLE_EVERY_S = 5.0
WARM_UP_SHARE = 0.3
"""Of the time, in which memory may still come to its level."""
MIB = float(1 << 20)
SLOPE_LIMIT_MIB = 60.0
"""An hour and process: a megabyte a minute."""
START_LIMIT_S = 900.0
STOP_LIMIT_S = 120.0


def train(place: Path, minutes: float) -> tuple[ProcessSamples, int]:
    """Trains and samples.

    Args:
        place: An empty directory.
        minutes: How long, from the first step on.

    Returns:
        The samples since the first checkpoint, and the step of the last one.

    Raises:
        ChildProcessError: The run ended by itself.
    """
    positives = int(0.52 * ROWS)
    simulate(
        SimulateConfig(
            output=str(place / "data"),
            preset="micro-video",
            num_users=20_000,
            num_items=10_000,
            num_positives=positives,
            num_negatives=ROWS - positives,
            num_unclear=0,
        )
    )
    settings = {
        "data.path": place / "data",
        "run.dir": place / "run",
        "run.workers": WORKERS,
        "run.max_rounds": 10**6,
        "run.patience": 10**6,
        "run.checkpoint_every_steps": CHECKPOINT_EVERY_STEPS,
        "run.max_failures": 0,
    }
    command = [
        sys.executable,
        "-m",
        "distributed_il",
        "train",
        *(f"--{name}={value}" for name, value in settings.items()),
    ]
    store = CheckpointStore(str(place / "run"))
    log = place / "log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait_for_checkpoint(store, process, log)
            samples = ProcessSamples(process.pid)
            until = time.monotonic() + 60 * minutes
            while time.monotonic() < until and process.poll() is None:
                samples.take()
                time.sleep(SAMPLE_EVERY_S)
            process.send_signal(signal.SIGTERM)
            status = process.wait(STOP_LIMIT_S)
        finally:
            process.kill()
    if status != 128 + signal.SIGTERM:
        raise ChildProcessError(f"the run ended with status {status}:\n{log.read_text()[-2000:]}")
    last = store.manifest("last")
    assert last is not None
    return samples, last["step"]


def _wait_for_checkpoint(store: CheckpointStore, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while store.manifest("last") is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise ChildProcessError(f"no checkpoint within {START_LIMIT_S:.0f} s:\n{log.read_text()[-2000:]}")
        time.sleep(1)


def figures(tracks: Iterable[Track], from_s: float) -> dict[str, Figure]:
    """Level and growth of each kind of process that lived throughout; the processes of a kind are its repeats.

    Args:
        tracks: The processes.
        from_s: Where the level is reached.
    """
    kinds: dict[str, list[Track]] = {}
    for track in tracks:
        kinds.setdefault(re.sub(r"\W+", "_", track.title.removeprefix("ray::")).strip("_"), []).append(track)
    found: dict[str, Figure] = {}
    for kind, members in sorted(kinds.items()):
        memory = [track.median("anonymous_bytes", from_s=from_s) / MIB for track in members]
        swing = [track.range("anonymous_bytes", from_s=from_s) / MIB for track in members]
        slopes = [track.slope("anonymous_bytes", from_s=from_s) / MIB for track in members]
        found[f"{kind}_memory_mib"] = Figure(memory)
        found[f"{kind}_memory_swing_mib"] = Figure(swing)
        found[f"{kind}_memory_growth_mib_per_h"] = Figure(slopes, at_most=SLOPE_LIMIT_MIB)
        for quantity in ("files", "threads"):
            growth = [track.slope(quantity, from_s=from_s) for track in members]
            found[f"{kind}_{quantity}_growth_per_h"] = Figure(growth, at_most=0)
    return found


def main() -> None:
    """Runs the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="how long to train (30)")
    arguments = parser.parse_args()
    minutes = 1.0 if arguments.quick else arguments.minutes
    with tempfile.TemporaryDirectory() as place:
        samples, step = train(Path(place), minutes)
    from_s, until_s = 60 * minutes * WARM_UP_SHARE, 60 * minutes - 3 * SAMPLE_EVERY_S
    found = figures(samples.tracks(from_s=from_s, until_s=until_s), from_s)
    missed = [name for name, figure in found.items() if figure.met is False]
    Result(
        name="soak",
        question="Does any process of a long run grow?",
        answer=f"{minutes:g} minutes, {step:,} steps: " + (f"grew: {', '.join(missed)}." if missed else "none grew."),
        command=f"python -m benchmarks.soak --minutes {minutes:g}",
        config={
            "minutes": minutes,
            "rows": ROWS,
            "workers": WORKERS,
            "checkpoint_every_steps": CHECKPOINT_EVERY_STEPS,
            "sample_every_s": SAMPLE_EVERY_S,
            "warm_up_share": WARM_UP_SHARE,
        },
        figures={"steps": Figure([step]), "replica_comparisons": Figure([step // CHECKPOINT_EVERY_STEPS]), **found},
        notes=[
            "Processes that lived from the end of the warm-up to the end; those of a kind are the repeats. Memory is "
            "what a process has for itself (RssAnon).",
            "Growth: the median of the slopes of all pairs of samples (Theil and Sen). Swing: the largest value less "
            "the smallest.",
            "Replicas are compared at every checkpoint, bit for bit; a difference would have ended the run.",
            f"Processes seen in all: {', '.join(f'{title} {count}' for title, count in samples.counts().items())}.",
        ],
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
