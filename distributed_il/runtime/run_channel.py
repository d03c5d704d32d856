"""What a run's workers and the process that started it tell each other, through a small Ray actor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import ray

from distributed_il.core.progress import Progress


@dataclass(frozen=True, slots=True)
class Update:
    """What the driver has not seen yet.

    Attributes:
        progress: The newest, if there is a newer one than last time.
        notes: Lines for the console, in order.
    """

    progress: Progress | None
    notes: tuple[str, ...]


class RunChannel:
    """One process's end of the channel; it travels to other processes by pickle."""

    def __init__(self) -> None:
        """Starts an empty channel on this node; it takes no CPU and ends with this process."""
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        self._actor: Any = ray.remote(num_cpus=0, label_selector=here)(_ChannelState).remote()
        self._pending: Any = None
        self._requests = _Requests()

    def send_progress(self, progress: Progress) -> None:
        """Sends progress without waiting; skips it while the last one is under way."""
        self._receive()
        if self._pending is None:
            self._pending = self._actor.send_progress.remote(progress)

    def should_stop(self) -> bool:
        """Returns whether `stop` had been called when the last progress arrived."""
        self._receive()
        return self._requests.stop

    def should_save(self) -> bool:
        """Returns, once, whether `save` had been called when the last progress arrived."""
        self._receive()
        save, self._requests = self._requests.save, self._requests._replace(save=False)
        return save

    def refuse(self, message: str) -> None:
        """Leaves the message of a `UserError`; the first one stays."""
        self._call("refuse", message)

    def refusal(self) -> str | None:
        """Returns the message of the `UserError` that ends the run, if there was one."""
        return self._call("read", "refusal")

    def give_up(self) -> None:
        """Announces an error that would come again after a restart."""
        self._call("give_up")

    def given_up(self) -> bool:
        """Returns whether a restart is of no use."""
        return self._call("read", "hopeless")

    def finish(self, result: dict[str, Any]) -> None:
        """Leaves the run's result."""
        self._call("finish", result)

    def result(self) -> dict[str, Any] | None:
        """Returns the run's result, once it is finished."""
        return self._call("read", "result")

    def stop(self) -> None:
        """Asks the run to stop at its next report."""
        self._call("request", "stop")

    def save(self) -> None:
        """Asks the run for a checkpoint at its next report."""
        self._call("request", "save")

    def note(self, text: str) -> None:
        """Leaves a line for the console."""
        self._call("note", text)

    def update(self) -> Update:
        """Returns what came since the last call."""
        return self._call("update")

    def _call(self, method: str, *arguments: Any) -> Any:
        return ray.get(getattr(self._actor, method).remote(*arguments))

    def _receive(self) -> None:
        """Takes the answer to the last progress, if it has come."""
        if self._pending is not None and ray.wait([self._pending], timeout=0)[0]:
            answer: _Requests = ray.get(self._pending)
            self._requests = _Requests(self._requests.stop or answer.stop, self._requests.save or answer.save)
            self._pending = None


class _Requests(NamedTuple):
    """What the workers are asked for."""

    stop: bool = False
    save: bool = False


class _ChannelState:
    """What the channel holds; an actor, so one call at a time."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.notes: list[str] = []
        self.refusal: str | None = None
        self.result: dict[str, Any] | None = None
        self.hopeless = False
        self.requests = _Requests()

    def send_progress(self, progress: Progress) -> _Requests:
        self.progress = progress
        requests, self.requests = self.requests, self.requests._replace(save=False)
        return requests

    def refuse(self, message: str) -> None:
        if self.refusal is None:
            self.refusal = message

    def give_up(self) -> None:
        self.hopeless = True

    def finish(self, result: dict[str, Any]) -> None:
        self.result = result

    def request(self, name: str) -> None:
        self.requests = self.requests._replace(**{name: True})

    def note(self, text: str) -> None:
        self.notes.append(text)

    def read(self, name: str) -> Any:
        return getattr(self, name)

    def update(self) -> Update:
        update = Update(self.progress, tuple(self.notes))
        self.progress = None
        self.notes.clear()
        return update
