"""What an error in a worker leaves in the channel, and what the controller makes of it."""

from __future__ import annotations

import pytest

from distributed_il.core.errors import UserError
from distributed_il.core.progress import Progress
from distributed_il.runtime import worker
from distributed_il.runtime.launch import FailureNotes
from distributed_il.runtime.run_channel import RunChannel
from distributed_il.training.trainer import Stopped

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("private_ray")]

PROGRESS = Progress(1, 2, "train", 3, 4, 5.0, 0.6, None, 7.0, None)


def fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> RunChannel:
    def train(*_: object) -> None:
        raise error

    monkeypatch.setattr(worker, "_train", train)
    channel = RunChannel()
    if isinstance(error, Stopped):
        worker.train_loop({"config": None, "channel": channel, "claim": None, "dataset": ""})
    else:
        with pytest.raises(type(error)):
            worker.train_loop({"config": None, "channel": channel, "claim": None, "dataset": ""})
    return channel


def test_an_error_for_people_ends_the_run_with_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = fail_with(UserError("lower the rate"), monkeypatch)
    with pytest.raises(UserError, match=r"^lower the rate$"):
        FailureNotes(channel).after_exception(None, {1: RuntimeError("wrapped")})


@pytest.mark.parametrize("error", [TypeError("a mistake"), KeyError("a mistake"), AssertionError("a mistake")])
def test_a_mistake_is_not_tried_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = fail_with(error, monkeypatch)
    with pytest.raises(type(error)):
        FailureNotes(channel).after_exception(None, {1: error})


@pytest.mark.parametrize("error", [RuntimeError("peer\nis gone"), OSError("no such host")])
def test_what_a_restart_may_cure_is_told_and_tried_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = fail_with(error, monkeypatch)
    FailureNotes(channel).after_exception(None, {1: error})
    assert channel.update().notes == (f"worker 1 failed: {str(error).splitlines()[-1]}",)


def test_a_stop_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = fail_with(Stopped(), monkeypatch)
    assert channel.refusal() is None
    assert channel.result() is None


def test_progress_arrives_once_and_its_answer_carries_the_stop() -> None:
    channel = RunChannel()
    channel.send_progress(PROGRESS)
    while not (update := channel.update()).progress:
        continue
    assert update.progress == PROGRESS
    assert channel.update().progress is None
    assert not channel.should_stop()
    channel.stop()
    while not channel.should_stop():
        channel.send_progress(PROGRESS)
