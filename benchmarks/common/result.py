"""What a benchmark found, as JSON for programs and as Markdown for people."""

from __future__ import annotations

import datetime
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.common.machine import machine_facts, machine_line
from distributed_il.core.files import to_json, write_run_file
from distributed_il.core.process import process_environment


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, measured once or several times; its name ends in its unit (`_ms`, `_s`, `_bytes`)."""

    repeats: Sequence[float]
    """At least one value, in the order of measuring."""
    at_most: float | None = None
    """Target: the median is not to be above it."""
    at_least: float | None = None
    """Target: the median is not to be below it."""

    def __post_init__(self) -> None:
        if not len(self.repeats):
            raise ValueError("a figure needs at least one value")

    @property
    def median(self) -> float:
        """Median of the repeats."""
        return float(np.median(self.repeats))

    @property
    def quartiles(self) -> tuple[float, float]:
        """Lower and upper quartile, interpolated linearly; their distance is the interquartile range."""
        lower, upper = np.quantile(self.repeats, [0.25, 0.75])
        return float(lower), float(upper)

    @property
    def met(self) -> bool | None:
        """Whether the median keeps to the target; None where there is none."""
        if self.at_most is None and self.at_least is None:
            return None
        above = self.at_least is None or self.median >= self.at_least
        return above and (self.at_most is None or self.median <= self.at_most)

    def summary(self) -> dict[str, Any]:
        """Repeats, median, spread and target as plain values."""
        lower, upper = self.quartiles
        values: dict[str, Any] = {
            "median": self.median,
            "min": float(min(self.repeats)),
            "lower_quartile": lower,
            "upper_quartile": upper,
            "interquartile_range": upper - lower,
            "max": float(max(self.repeats)),
            "repeats": [float(value) for value in self.repeats],
        }
        targets = {"at_most": self.at_most, "at_least": self.at_least, "met": self.met}
        return values | {name: value for name, value in targets.items() if value is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A benchmark's question, how it was asked, and the figures that answer it."""

    name: str
    """Of the benchmark; its files are called after it."""
    question: str
    """In one sentence."""
    answer: str
    """In a few plain sentences, missed targets included."""
    command: str
    """What to type to ask again."""
    config: Mapping[str, Any]
    """Everything that decides what is measured, resolved, as plain values."""
    figures: Mapping[str, Figure]
    """By name, in the order of showing."""
    notes: Sequence[str] = ()
    """What a reader must know to judge the figures."""
    sections: Sequence[str] = ()
    """Further Markdown, such as tables and pictures, below the figures."""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else the JSON file holds, as plain values."""

    def publish(self, out: str) -> None:
        """Writes `<name>-<date>.json` and `.md`, prints the Markdown and, as the last line, the medians as JSON.

        Args:
            out: Directory, made where it is missing.
        """
        report = self._report()
        text = markdown(report)
        stem = f"{self.name}-{report['date']}"
        write_run_file(out, f"{stem}.json", to_json(report))
        write_run_file(out, f"{stem}.md", text)
        print(text)
        medians = {name: figure.median for name, figure in self.figures.items()}
        print(json.dumps({name: value if math.isfinite(value) else None for name, value in medians.items()}))

    def _report(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "answer": self.answer,
            "date": datetime.date.today().isoformat(),
            "command": self.command,
            "machine": machine_facts(),
            "environment": {name: os.environ.get(name) for name in process_environment(1)},
            "config": dict(self.config),
            "figures": {name: figure.summary() for name, figure in self.figures.items()},
            "notes": list(self.notes),
            "sections": list(self.sections),
            "details": dict(self.details),
        }


def markdown(report: Mapping[str, Any]) -> str:
    """The report as people read it.

    Args:
        report: What the JSON file holds.
    """
    environment = " ".join(f"{name}={value}" for name, value in report["environment"].items() if value is not None)
    lines = [
        f"# {report['question']}",
        "",
        report["answer"],
        "",
        f"* **Command**: `{report['command']}`, {report['date']}",
        f"* **Machine**: {machine_line(report['machine'])}",
        f"* **Environment**: `{environment or 'nothing set'}`",
        "* **Config**: " + ", ".join(f"{name} {_text(value)}" for name, value in report["config"].items()),
        "",
        "| figure | median | quartiles | min – max | repeats | target |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(name, figure) for name, figure in report["figures"].items()]
    if report["notes"]:
        lines += ["", *(f"* {note}" for note in report["notes"])]
    for section in report["sections"]:
        lines += ["", section]
    return "\n".join(lines) + "\n"


def _row(name: str, figure: Mapping[str, Any]) -> str:
    count = len(figure["repeats"])
    cells = [name, _text(figure["median"])]
    if count > 1:
        cells += [f"{_text(figure['lower_quartile'])} – {_text(figure['upper_quartile'])}"]
        cells += [f"{_text(figure['min'])} – {_text(figure['max'])}"]
    else:
        cells += ["–", "–"]
    bounds = [f"{sign} {_text(figure[key])}" for key, sign in (("at_least", "≥"), ("at_most", "≤")) if key in figure]
    target = f"{' and '.join(bounds)}: {'met' if figure['met'] else '**missed**'}" if bounds else "–"
    return "| " + " | ".join([*cells, str(count), target]) + " |"


def _text(value: Any) -> str:
    """Four digits of a fraction, all of a whole number, and anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if math.isfinite(value) and value == int(value) and abs(value) < 2**53:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.1f}"
