"""Iterates ahead in a thread, so that the step finds its input ready."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _End:
    """Marks the end of the input, with the error that ended it, if any."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Prefetcher(Generic[T]):
    """Iterates over `source` in a thread, at most `depth` items ahead; a context manager that ends the thread.

    Attributes:
        waited_s: Time that the consumer has spent waiting for items, in seconds.
    """

    def __init__(self, source: Iterator[T], *, depth: int) -> None:
        """Starts the thread; it closes `source`, too, where that is a generator."""
        self.waited_s = 0.0
        self._source = source
        self._ready: queue.Queue[T | _End] = queue.Queue(maxsize=depth)
        self._stop = threading.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="prefetch", daemon=True)
        self._thread.start()

    def __enter__(self) -> Prefetcher[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self) -> None:
        """Returns once the first item is ready or there is none; this does not count as waiting for items."""
        self._begun.wait()

    def close(self) -> None:
        """Ends the thread; what lies ready is lost."""
        self._stop.set()
        while self._thread.is_alive():
            try:  # makes room, so that a blocked put sees the stop
                self._ready.get(timeout=0.05)
            except queue.Empty:
                continue
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while True:
            started = time.perf_counter()
            item = self._ready.get()
            self.waited_s += time.perf_counter() - started
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def _fill(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._source:
                self._ready.put(item)
                self._begun.set()
                if self._stop.is_set():
                    return
        except BaseException as caught:  # the consumer raises it
            error = caught
        finally:
            close = getattr(self._source, "close", None)
            if close is not None:
                close()
            if not self._stop.is_set():
                self._ready.put(_End(error))
            self._begun.set()
