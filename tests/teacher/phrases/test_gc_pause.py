"""Garbage collection is off during the pause and restored afterwards, after an error too."""

from __future__ import annotations

import gc

import pytest

from teacher.phrases.gc_pause import pause_gc


def test_the_collector_rests_within_and_works_again_afterwards() -> None:
    assert gc.isenabled()
    with pause_gc():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_within_does_not_leave_it_off() -> None:
    with pytest.raises(ZeroDivisionError), pause_gc():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with pause_gc():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
