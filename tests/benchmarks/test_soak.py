"""Samples of processes, and the growth that is read from them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.common.process_samples import ProcessSamples, Sample, Track
from benchmarks.soak import MIB, figures


def track(title: str, growth_mib_per_h: float) -> Track:
    samples = [Sample(60.0 * k, int((100 + growth_mib_per_h * k / 60) * MIB), 10, 4) for k in range(11)]
    samples[5] = Sample(300.0, int(900 * MIB), 10, 4)  # a peak, which is no growth
    return Track(title, samples)


def test_growth_is_the_slope_without_the_peaks() -> None:
    found = figures([track("ray::RayTrainWorker", 0), track("ray::RayTrainWorker", 240)], from_s=60)
    assert found["RayTrainWorker_memory_growth_mib_per_h"].repeats == pytest.approx([0, 240], abs=1e-3)
    assert found["RayTrainWorker_memory_growth_mib_per_h"].met is False
    assert found["RayTrainWorker_memory_swing_mib"].median > 750
    assert found["RayTrainWorker_files_growth_per_h"].met is True


def test_a_process_and_its_children_are_seen_while_they_live() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        samples = ProcessSamples(os.getpid())
        samples.take()
        samples.take()
        child.communicate(b"\n")
    samples.take()
    whole = samples.tracks(from_s=1.0, until_s=0.0)
    assert len(whole) >= 2
    lived = max(whole, key=lambda track: len(track.samples))
    assert len(lived.samples) == 3
    assert lived.samples[0].anonymous_bytes > MIB
    assert lived.samples[0].files > 0
