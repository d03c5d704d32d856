"""How long is it from the command to the first step, and from the end of training to the prompt?

`distributed-il train` and a script of plain torch.distributed, started by `torchrun`, each train a pass on the same
dataset, in turns. The clock runs from the start of the command; the first step begins where the model is first asked
for logits, and training ends as metrics.json is there.

    python -m benchmarks.startup
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common.command import command_line
from benchmarks.common.measuring import ratios
from benchmarks.common.result import Figure, Result
from benchmarks.starts.stamp import STAMP
from distributed_il.data.prepare.simulate.simulator import SimulateConfig, simulate

REPEATS = 7
FIRST_STEP_MOST_S, OVER_PLAIN_MOST, END_MOST_S = 10.0, 2.2, 1.0


def train_command(data: str, run_dir: str) -> list[str]:
    """One round by `distributed-il train`."""
    model = "--model.backbone=benchmarks.starts.first_step:StampedBiasMF"
    settings = [f"--data.path={data}", f"--run.dir={run_dir}", "--run.max_rounds=1", "--method.name=none", model]
    return [sys.executable, "-m", "distributed_il", "train", *settings]


def plain_command(data: str) -> list[str]:
    """One pass by torch.distributed."""
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
    return [sys.executable, *start, "-m", "benchmarks.starts.plain", data]


def seconds_to_first_step(command: Sequence[str], scratch: Path) -> tuple[float, float]:
    """Runs a command to its end.

    Args:
        command: What to run; it leaves a stamp.
        scratch: An empty directory.

    Returns:
        Seconds until the stamp, and when the command had ended, seconds since the epoch.

    Raises:
        RuntimeError: It failed.
    """
    stamp = scratch / "stamp"
    began = time.time()
    ended = subprocess.run(command, env=os.environ | {STAMP: str(stamp)}, capture_output=True, text=True)
    now = time.time()
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stderr}")
    return float(stamp.read_text()) - began, now


def measure(data: str, repeats: int) -> dict[str, Figure]:
    """Starts both in turns.

    Args:
        data: A prepared dataset.
        repeats: Turns.
    """
    ours, plain, ends = [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as place:
            first, ended = seconds_to_first_step(train_command(data, f"{place}/run"), Path(place))
            ours.append(first)
            ends.append(ended - Path(place, "run", "metrics.json").stat().st_mtime)
        with tempfile.TemporaryDirectory() as place:
            plain.append(seconds_to_first_step(plain_command(data), Path(place))[0])
    return {
        "first_step_s": Figure(ours, at_most=FIRST_STEP_MOST_S),
        "first_step_over_torch_distributed": Figure(ratios(ours, plain), at_most=OVER_PLAIN_MOST),
        "torch_distributed_first_step_s": Figure(plain),
        "end_s": Figure(ends, at_most=END_MOST_S),
    }


def main() -> None:
    """Measures, prints and writes the report."""
    parser = command_line(__doc__)
    parser.add_argument("--data", help="prepared dataset (default: the simulated demo)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data: str = arguments.data or f"{scratch}/demo"
        if arguments.data is None:
            simulate(SimulateConfig(output=data, preset="demo"))
        figures = measure(data, 1 if arguments.quick else REPEATS)
    first, ratio, end = (
        figures[name].median for name in ("first_step_s", "first_step_over_torch_distributed", "end_s")
    )
    Result(
        name="startup",
        question="How long is it from the command to the first step, and from the end of training to the prompt?",
        answer=f"{first:.1f} s, {ratio:.2f} times what torchrun takes to a script's; {end:.1f} s at the end.",
        command="python -m benchmarks.startup" + (" --quick" if arguments.quick else ""),
        config={"data": arguments.data or "simulated demo", "workers": 1, "backbone": "bias_mf", "method": "none"},
        figures=figures,
        notes=("Both find their files in the page cache after the first turn.",),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
