"""One signal drains, two stop at once, and neither leaves a lock behind."""

from __future__ import annotations

import logging
import os
import signal
import threading

import pytest

from pipelines.terminal.interrupt import drain_on_signal, log


def send(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_asks_and_the_second_stops_at_once(number: int) -> None:
    with pytest.raises(KeyboardInterrupt), drain_on_signal(60) as stopping:
        send(number)
        assert stopping()
        send(number)
        pytest.fail("the second signal did nothing")


def test_the_grace_of_a_sigterm_ends_without_a_second_one() -> None:
    with pytest.raises(KeyboardInterrupt), drain_on_signal(0.05):
        send(signal.SIGTERM)
        threading.Event().wait(5)
        pytest.fail("the grace did not end")


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with drain_on_signal(60):
        send()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


class Impatient(logging.Handler):
    """Sends the second signal while it is told of the first, its lock held."""

    came_to_its_end = False

    def emit(self, record: logging.LogRecord) -> None:
        send()
        self.came_to_its_end = True


def test_a_second_signal_does_not_raise_inside_the_logger_of_the_first() -> None:
    handler = Impatient()
    log.addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt), drain_on_signal(60):
            send()
    finally:
        log.removeHandler(handler)
    assert handler.came_to_its_end
