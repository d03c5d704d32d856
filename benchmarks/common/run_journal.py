"""Runs of a long benchmark, kept as they end, so that one that was broken off goes on where it was."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.common.training_ranks import Speed, Way
from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError

Run = Callable[[Way, TrainConfig], Speed]


class RunJournal:
    """A file with a line for what is asked, and one for each run that has ended."""

    def __init__(self, path: str, asked: Mapping[str, Any]) -> None:
        """Reads what is there.

        Args:
            path: The file; made where there is none.
            asked: Everything that decides what the runs show: plan, machine, versions, commit. Plain values.

        Raises:
            UserError: The file's runs answer another question.
        """
        self._path = Path(path)
        head = json.loads(json.dumps(dict(asked)))
        text = self._path.read_bytes() if self._path.exists() else b""
        # A line without its end was being written when the benchmark was broken off.
        whole = text[: text.rfind(b"\n") + 1]
        found = [json.loads(line) for line in whole.splitlines()]
        if found and found[0] != head:
            differing = sorted(name for name in head | found[0] if head.get(name) != found[0].get(name))
            raise UserError(f"{path} holds runs of another {', '.join(differing)}; remove it, or name another file")
        self._ended = found[1:]
        if len(whole) < len(text):
            os.truncate(self._path, len(whole))
        if not found:
            self._append(head)

    def __len__(self) -> int:
        """Runs that had ended before."""
        return len(self._ended)

    def resumed(self, run: Run) -> Run:
        """Gives the runs of the same kind that ended before, in their order, then runs and keeps the others.

        Args:
            run: Trains once.
        """
        ended: dict[str, deque[Speed]] = defaultdict(deque)
        for line in self._ended:
            ended[_kind(line["way"], line["run"])].append(Speed(**line["speed"]))

        def call(way: Way, config: TrainConfig) -> Speed:
            known = ended[_kind(way, _identity(config))]
            if known:
                return known.popleft()
            speed = run(way, config)
            self._append({"way": way, "run": _identity(config), "speed": dataclasses.asdict(speed)})
            return speed

        return call

    def _append(self, line: Mapping[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _kind(way: Way, identity: Mapping[str, Any]) -> str:
    return json.dumps([way, identity], sort_keys=True)


def _identity(config: TrainConfig) -> dict[str, Any]:
    """What tells the runs of a benchmark apart."""
    return {
        "data": config.data.path,
        "backbone": config.model.backbone,
        "tables": config.model.tables,
        "method": config.method.name,
        "workers": config.run.workers,
        "batch_size": config.run.batch_size,
        "rounds": config.run.max_rounds,
    }
