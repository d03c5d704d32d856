"""What the workers of a run and the process that started it tell each other: a small Ray actor between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import ray

from distributed_il.core.progress import Progress


@dataclass(frozen=True, slots=True)
class News:
    """What the driver has not seen yet.

    Attributes:
        progress: The newest, if there is a newer one than last time.
        notes: Lines for the console, in order.
    """

    progress: Progress | None
    notes: tuple[str, ...]


class Mailbox:
    """One process's way to the run's mailbox; it travels to other processes by pickle."""

    def __init__(self) -> None:
        """Starts an empty mailbox on this node; it takes no CPU and ends with this process."""
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        self._actor: Any = ray.remote(num_cpus=0, label_selector=here)(_Contents).remote()
        self._answer: Any = None
        self._asked = _Asked()

    def tell(self, progress: Progress) -> None:
        """Sends progress without waiting; left out while the last one is under way."""
        self._look()
        if self._answer is None:
            self._answer = self._actor.tell.remote(progress)

    def should_stop(self) -> bool:
        """Whether `stop` had been called when the last progress arrived."""
        self._look()
        return self._asked.stop

    def should_save(self) -> bool:
        """Whether `save` had been called when the last progress arrived; says so once."""
        self._look()
        save, self._asked = self._asked.save, self._asked._replace(save=False)
        return save

    def refuse(self, message: str) -> None:
        """Leaves the message of a `UserError`; the first one stays."""
        self._call("refuse", message)

    def refusal(self) -> str | None:
        """The message of the `UserError` that ends the run, if there was one."""
        return self._call("read", "refusal")

    def give_up(self) -> None:
        """Says that the error to come would come again after a restart."""
        self._call("give_up")

    def given_up(self) -> bool:
        """Whether a restart is of no use."""
        return self._call("read", "hopeless")

    def finish(self, result: dict[str, Any]) -> None:
        """Leaves the run's result."""
        self._call("finish", result)

    def result(self) -> dict[str, Any] | None:
        """The run's result, once it is finished."""
        return self._call("read", "result")

    def stop(self) -> None:
        """Asks the run to stop at its next report."""
        self._call("request_stop")

    def save(self) -> None:
        """Asks the run for a checkpoint at its next report."""
        self._call("request_save")

    def note(self, text: str) -> None:
        """Leaves a line for the console."""
        self._call("note", text)

    def news(self) -> News:
        """What came since the last call."""
        return self._call("news")

    def _call(self, method: str, *arguments: Any) -> Any:
        return ray.get(getattr(self._actor, method).remote(*arguments))

    def _look(self) -> None:
        if self._answer is not None and ray.wait([self._answer], timeout=0)[0]:
            answer: _Asked = ray.get(self._answer)
            self._asked = _Asked(stop=self._asked.stop or answer.stop, save=self._asked.save or answer.save)
            self._answer = None


class _Asked(NamedTuple):
    """What the workers are asked for."""

    stop: bool = False
    save: bool = False


class _Contents:
    """What is in a mailbox; an actor, so one call at a time."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.notes: list[str] = []
        self.refusal: str | None = None
        self.result: dict[str, Any] | None = None
        self.hopeless = False
        self.asked = _Asked()

    def tell(self, progress: Progress) -> _Asked:
        self.progress = progress
        asked, self.asked = self.asked, self.asked._replace(save=False)
        return asked

    def refuse(self, message: str) -> None:
        if self.refusal is None:
            self.refusal = message

    def give_up(self) -> None:
        self.hopeless = True

    def finish(self, result: dict[str, Any]) -> None:
        self.result = result

    def request_stop(self) -> None:
        self.asked = self.asked._replace(stop=True)

    def request_save(self) -> None:
        self.asked = self.asked._replace(save=True)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def read(self, name: str) -> Any:
        return getattr(self, name)

    def news(self) -> News:
        news = News(self.progress, tuple(self.notes))
        self.progress = None
        self.notes.clear()
        return news
