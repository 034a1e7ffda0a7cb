"""A server, and labelers that ask it."""

from __future__ import annotations

import threading

import pytest

from teacher.factories import make_labeler
from teacher.vlm import pacing
from tests.teacher.vlm.chat_server import MODEL, ChatServer


class SteppedClock:
    """A clock that a wait moves forward at once."""

    def __init__(self):
        self.at, self.waits = 0.0, []
        self._lock = threading.Lock()

    def now_s(self):
        return self.at

    def wait(self, seconds, stop):
        with self._lock:
            self.waits.append(seconds)
            self.at += max(seconds, 0)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(pacing, "FIRST_WAIT_S", 0.02)
    running = ChatServer()
    yield running
    running.close()


@pytest.fixture
def settings(server):
    """Return a function that makes the settings of a labeler that asks the server."""

    def make(**changes):
        server.style = changes.get("style", server.style)
        base = {"kind": "vlm", "model": MODEL, "base_url": server.url, "revision": "2026-01"}
        return {**base, "style": server.style, **changes}

    return make


@pytest.fixture
def build(settings):
    """Return a function that makes a labeler. They are closed after the test."""
    made = []

    def make(batch_size=4, **changes):
        made.append(make_labeler(settings(**changes), batch_size, 0.05))
        return made[-1]

    yield make
    for labeler in made:
        labeler.close()


@pytest.fixture
def manual_clock():
    return SteppedClock()
