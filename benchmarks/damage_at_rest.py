"""Tests trust, not speed: does any damage to a dataset or a run at rest change a result without a word?

Damages the files of a small dataset and of runs over it, one after the other: bits flipped, cut short, something
appended, emptied, deleted, zeroed, exchanged with another file, or with that of another dataset or run. JSON documents
are forged as well, some with hashes that fit. Every command that may read the file is run then, in a process without
Ray: the same result or a message for people is due. Another result, any other exception and no end are faults.

    python -m benchmarks.damage_at_rest
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.result import Figure, Result
from benchmarks.damage.commands import OF_DATA, commands_for
from benchmarks.damage.forgeries import forge
from benchmarks.damage.mutations import Mutation, mutate
from benchmarks.damage.scene import build_scene
from distributed_il.core.errors import UserError

_BATCH = 100
FAULTS = ("changed", "trace", "hang")
"""Outcomes that must not be; the others are `same`, `refused` and `told`: another result, and a warning why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much to try."""

    mutations: int = 1_200
    """Damaged files."""
    forgeries: int = 500
    """Forged documents."""
    seed: int = 0
    """Decides all damage."""
    limit_s: int = 60
    """Seconds after which a command counts as hung."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command made of a mutation."""

    kind: str  # of the mutation
    path: str
    command: str
    outcome: str
    said: str


class _HungError(BaseException):
    """Passes by whatever catches exceptions."""


class Scene:
    """A scene of this process's own, what each command says of it while it is whole, and the other scene."""

    def __init__(self, scenes: Path, own: Path, limit_s: int) -> None:
        """Copies the scene `one` of a directory of two."""
        self.root, self.other, self._own, self._limit_s = own / "one", scenes / "other", own, limit_s
        shutil.copytree(scenes / "one", self.root)
        self._whole: dict[str, str] = {}

    def try_command(self, command: str) -> tuple[str, str]:
        """Runs a command; returns an outcome and what was said."""
        if command not in self._whole:
            raise ValueError(f"{command} was never run on the whole scene")
        with tempfile.TemporaryDirectory(dir=self._own) as out, _warnings() as warned:
            try:
                with _limited(self._limit_s):
                    found = OF_DATA[command](self.root, Path(out))
            except (UserError, OSError, MemoryError) as error:  # as the command line does
                return "refused", f"{type(error).__name__}: {error}"
            except _HungError:
                return "hang", f"no end after {self._limit_s} s"
            except Exception as error:
                return "trace", f"{type(error).__name__}: {error}"
        if found == self._whole[command]:
            return "same", ""
        return ("told", warned[0]) if warned else ("changed", "")

    def learn(self, commands: tuple[str, ...]) -> None:
        """Runs commands on the whole scene."""
        for command in commands:
            if command not in self._whole:
                with tempfile.TemporaryDirectory(dir=self._own) as out:
                    self._whole[command] = OF_DATA[command](self.root, Path(out))

    @contextmanager
    def damaged(self, mutation: Mutation) -> Generator[None]:
        """Damages the scene for the time of the block."""
        before = {path: (self.root / path).read_bytes() for path in mutation.contents}
        try:
            for path, content in mutation.contents.items():
                (self.root / path).unlink()
                if content is not None:
                    (self.root / path).write_bytes(content)
            yield
        finally:
            for path, content in before.items():
                (self.root / path).write_bytes(content)


@contextmanager
def _limited(seconds: int) -> Generator[None]:
    def end(*_: object) -> None:
        raise _HungError

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _warnings() -> Generator[list[str]]:
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("distributed_il")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def try_batch(scenes: Path, plan: Plan, first: int, count: int) -> list[Outcome]:
    """Tries some mutations; those from `plan.mutations` on are forgeries."""
    with (
        open(os.devnull, "w") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
        tempfile.TemporaryDirectory() as own,
    ):
        scene = Scene(scenes, Path(own), plan.limit_s)
        return [outcome for number in range(first, first + count) for outcome in _try(scene, plan, number)]


def _try(scene: Scene, plan: Plan, number: int) -> Iterator[Outcome]:
    if number < plan.mutations:
        mutation = mutate(scene.root, scene.other, number, plan.seed)
    else:
        mutation = forge(scene.root, number - plan.mutations, plan.seed)
    commands = commands_for(mutation.path, np.random.default_rng([plan.seed, 2, number]))
    scene.learn(commands)
    with scene.damaged(mutation):
        for command in commands:
            outcome, said = scene.try_command(command)
            if mutation.kind == "forged" and outcome == "changed":
                outcome = "valid"  # with hashes that fit, a document in range is just another document
            yield Outcome(mutation.kind, str(mutation.path), command, outcome, said)


def measure(plan: Plan, scratch: Path) -> list[Outcome]:
    """Tries all of the plan, each batch in a process that may die."""
    scenes = scratch / "scenes"
    for seed, name in enumerate(("one", "other")):
        build_scene(scenes / name, seed)
    total = plan.mutations + plan.forgeries
    batches = [(first, min(_BATCH, total - first)) for first in range(0, total, _BATCH)]

    def in_a_process(first: int, count: int) -> list[Outcome]:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                return pool.submit(try_batch, scenes, plan, first, count).result()
            except BrokenProcessPool:
                return [Outcome("?", f"{first} to {first + count - 1}", "?", "trace", "the process died")]

    found: list[Outcome] = []
    with ThreadPoolExecutor(os.cpu_count()) as threads, tqdm(total=total, unit="mutation") as progress:
        for batch in as_completed([threads.submit(in_a_process, *batch) for batch in batches]):
            found += batch.result()
            progress.update(_BATCH)
    return found


def figures_of(found: list[Outcome]) -> dict[str, Figure]:
    """Counts outcomes, faults first."""
    counts = Counter(one.outcome for one in found)
    figures = {name: Figure([counts[name]], at_most=0) for name in FAULTS}
    figures["tries"] = Figure([len(found)])
    return figures | {name: Figure([count]) for name, count in sorted(counts.items()) if name not in FAULTS}


def table(found: list[Outcome]) -> str:
    """Markdown: outcomes by kind of damage and by command."""
    counts = Counter(("damage", one.kind, one.outcome) for one in found)
    counts += Counter(("command", one.command, one.outcome) for one in found)
    outcomes = sorted({outcome for *_, outcome in counts})
    lines = [f"| | {' | '.join(outcomes)} |", f"|---{'|---' * len(outcomes)}|"]
    for group, name in dict.fromkeys((group, name) for group, name, _ in sorted(counts)):
        cells = [f"{counts[group, name, outcome]}" for outcome in outcomes]
        lines.append(f"| {group} {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Tries, prints and writes the report."""
    parser = command_line(__doc__)
    parser.add_argument("--mutations", type=int, help="damaged files to try")
    parser.add_argument("--forgeries", type=int, help="forged documents to try")
    arguments = parser.parse_args()
    start_as_worker()
    mutations, forgeries = (60, 40) if arguments.quick else (Plan().mutations, Plan().forgeries)
    plan = Plan(mutations=arguments.mutations or mutations, forgeries=arguments.forgeries or forgeries)
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(plan, Path(scratch))
    faults = [one for one in found if one.outcome in FAULTS]
    counts = Counter(one.outcome for one in faults)
    Result(
        name="damage_at_rest",
        question="Does any damage to a dataset or a run at rest change a result without a word?",
        answer=f"{counts['changed']} results changed in silence, {counts['trace']} traces and {counts['hang']} hangs "
        f"in {len(found):,} commands over {plan.mutations:,} damaged files and {plan.forgeries:,} forged documents.",
        command=f"python -m benchmarks.damage_at_rest --mutations {plan.mutations} --forgeries {plan.forgeries}",
        config=asdict(plan),
        figures=figures_of(found),
        notes=(
            "`edited` documents keep their hashes, `forged` ones have hashes that fit: of those a result is not judged "
            "(`valid`), as one in range is just another document; traces and hangs are. `told`: another result, and a "
            "warning that says why.",
            *(f"{one.kind} of {one.path}, {one.command}: {one.outcome} {one.said}"[:300] for one in faults[:40]),
        ),
        sections=(table(found),),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
