"""A cluster that notices lost nodes soon, for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.local import LocalCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with pytest.MonkeyPatch.context() as patch:
        # A dead node is noticed in seconds instead of half a minute.
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("RAY_health_check_timeout_ms", "2000")
        with LocalCluster(nodes=2) as started:
            yield started
