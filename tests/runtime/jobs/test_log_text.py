"""What of a job's log is shown."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from distributed_il.runtime.jobs.cluster import LogText

LOG = (
    "2026-11-21 16:10:26,847\tINFO job_manager.py:581 -- Runtime env is setting up.\n"
    "Running entrypoint for job nightly-3: python -m distributed_il train\n"
    "round 1/2 train  50%\n"
    "2026-11-21 16:10:29,063\tINFO worker.py:1691 -- Using address 192.0.2.2:26379\n"
    "\n"
    "2026-11-21 16:10:30,063\tWARNING worker.py:17 -- a warning stays\n"
    "2026-11-21: INFO of the job's own -- stays\n"
    "no end"
)
SHOWN = (
    "round 1/2 train  50%\n"
    "\n"
    "2026-11-21 16:10:30,063\tWARNING worker.py:17 -- a warning stays\n"
    "2026-11-21: INFO of the job's own -- stays\n"
    "no end\n"
)


@given(st.lists(st.integers(0, len(LOG))))
def test_rays_own_lines_are_left_out_wherever_the_log_is_cut(cuts: list[int]) -> None:
    written: list[str] = []
    log = LogText(written.append)
    edges = [0, *sorted(cuts), len(LOG)]
    for start, stop in itertools.pairwise(edges):
        log.take(LOG[start:stop])
    log.end()
    assert "".join(written) == SHOWN
    assert log.taken == len(LOG)


def test_an_end_adds_nothing_to_a_whole_line() -> None:
    written: list[str] = []
    log = LogText(written.append)
    log.take("done\n")
    log.end()
    log.end()
    assert written == ["done\n"]
