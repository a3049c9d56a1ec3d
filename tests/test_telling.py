"""People who are told: in order, each apart, and nobody waits for one who doesn't listen."""

from __future__ import annotations

import threading

import pytest

from ifd_fast import telling
from ifd_fast.telling import Teller

pytestmark = pytest.mark.border


def nothing() -> None:
    """Do nothing at a mark."""


def test_what_is_put_is_told_in_order() -> None:
    """And a mark is passed once all before it was told."""
    told: list[int] = []
    marks: list[tuple[int, int]] = []
    teller: Teller[int] = Teller(told.append, lambda: marks.append((teller.position, len(told))))
    for number in range(100):
        teller.put(number)
    teller.mark(7_000)
    assert teller.finish(5.0)
    assert told == list(range(100))
    assert marks == [(7_000, 100)]
    assert teller.dropped == 0


def test_who_never_listens_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a terminal that nobody reads: what it was not told is counted, and the end comes."""
    monkeypatch.setattr(telling, "WAITING_MAX", 10)
    listens = threading.Event()
    begun = threading.Event()

    def stick(_: int) -> None:
        begun.set()
        listens.wait(30.0)

    teller = Teller(stick, nothing)
    teller.put(0)
    assert begun.wait(5.0)
    for number in range(15):
        teller.put(number)
    assert teller.dropped == 5
    assert not teller.finish(0.05)
    assert teller.dropped == 15
    assert teller.position == 0
    listens.set()


def test_who_is_gone_is_told_nothing_more() -> None:
    """As a terminal that was closed: its marks go on, so that others' places do."""
    tried: list[int] = []

    def fail(number: int) -> None:
        tried.append(number)
        raise BrokenPipeError

    teller = Teller(fail, nothing)
    for number in range(5):
        teller.put(number)
    teller.mark(9)
    assert teller.finish(5.0)
    assert tried == [0]
    assert teller.dropped == 5
    assert teller.position == 9
