"""Work done ahead in a thread: order, errors, and an end without a thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from distributed_il.core.prefetch import Prefetcher


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_items_come_in_order_and_the_thread_ends() -> None:
    with Prefetcher(iter(range(100)), depth=3) as ready:
        assert list(ready) == list(range(100))
        assert ready.waited_s >= 0
    assert not prefetch_threads()


def test_an_empty_source() -> None:
    with Prefetcher(iter(()), depth=1) as ready:
        assert list(ready) == []


def test_work_is_done_ahead_but_no_further_than_the_depth() -> None:
    """With nobody taking, 2 items lie ready and a third waits in the thread's hands."""
    made: list[int] = []
    third = threading.Event()

    def source() -> Iterator[int]:
        for k in range(100):
            made.append(k)
            if k == 2:
                third.set()
            yield k

    with Prefetcher(source(), depth=2) as ready:
        assert third.wait(timeout=30)
        assert made == [0, 1, 2]
        assert next(iter(ready)) == 0


def test_an_error_of_the_source_reaches_the_consumer_after_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("row 3 is damaged")

    seen: list[int] = []
    with Prefetcher(source(), depth=1) as ready, pytest.raises(ValueError, match="row 3 is damaged"):
        for item in ready:
            seen.append(item)
    assert seen == [1, 2]
    assert not prefetch_threads()


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_a_consumer_that_leaves_early_closes_the_source_in_its_thread(taken: int) -> None:
    closed_by: list[str] = []

    def source() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed_by.append(threading.current_thread().name)

    with Prefetcher(source(), depth=2) as ready:
        for _, _ in zip(range(taken), ready, strict=False):
            pass
    assert closed_by in (["prefetch"], []) if taken == 0 else closed_by == ["prefetch"]
    assert not prefetch_threads()


def test_a_consumer_that_fails_is_heard() -> None:
    def fail() -> None:
        with Prefetcher(iter(range(1000)), depth=2) as ready:
            for item in ready:
                if item == 3:
                    raise KeyError("step 3")

    with pytest.raises(KeyError, match="step 3"):
        fail()
    assert not prefetch_threads()


def test_waiting_for_the_first_item_takes_none_and_does_not_count() -> None:
    goes_on = threading.Event()

    def source() -> Iterator[int]:
        assert goes_on.wait(timeout=30)
        yield 1

    with Prefetcher(source(), depth=1) as ready:
        goes_on.set()
        ready.wait()
        assert ready.waited_s == 0
        assert list(ready) == [1]


def test_waiting_for_the_first_item_ends_where_there_is_none() -> None:
    def fails() -> Iterator[int]:
        yield from ()
        raise ValueError("damaged")

    with Prefetcher(iter(()), depth=1) as ready:
        ready.wait()
        assert list(ready) == []
    with Prefetcher(fails(), depth=1) as ready, pytest.raises(ValueError, match="damaged"):
        ready.wait()
        next(iter(ready))
