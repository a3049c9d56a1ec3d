"""Recent metrics: five minutes of event time, by instrument."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.metrics_cache import MetricsCache
from tests.strategies_interface import record

START = dt.datetime(2026, 2, 2, 13, tzinfo=dt.UTC)


def ended(seconds: float, instrument_id: int = 1) -> tuple[int, float]:
    """Return who and when, as the examples have it."""
    return instrument_id, seconds


def filled(*windows: tuple[int, float], life_s: float = 300.0) -> MetricsCache:
    """Return a cache that took these windows, by instrument and second of their end."""
    cache = MetricsCache(dt.timedelta(seconds=life_s))
    for instrument_id, second in windows:
        end = START + dt.timedelta(seconds=second)
        start = end - dt.timedelta(seconds=60)
        cache.add(record(instrument_id=instrument_id, time_window=start, window_end=end))
    return cache


def seconds_of(cache: MetricsCache) -> list[float]:
    """Return the ends of what is remembered, in seconds."""
    return [(one.window_end - START).total_seconds() for one in cache if one.window_end is not None]


def test_five_minutes_of_event_time() -> None:
    """What ended 300 s before the newest is forgotten, what ended a second later is kept."""
    assert seconds_of(filled(ended(0), ended(299))) == [0, 299]
    assert seconds_of(filled(ended(0), ended(1), ended(300))) == [1, 300]
    assert seconds_of(filled(ended(0), ended(60), ended(10_000))) == [10_000]
    assert MetricsCache().life == dt.timedelta(minutes=5)


def test_by_instrument() -> None:
    """Each instrument has its own, oldest first; one that is forgotten leaves nothing behind."""
    cache = filled(ended(0, 1), ended(0, 2), ended(60, 1), ended(320, 3))
    assert [one.instrument_id for one in cache] == [1, 3]
    assert len(cache.of(1)) == 1
    assert cache.of(2) == ()
    assert cache.latest(2) is None
    newest = cache.latest(1)
    assert newest is not None
    assert newest.window_end == START + dt.timedelta(seconds=60)
    assert len(cache) == 2


def test_no_life_keeps_the_newest_end_only() -> None:
    """With a life of zero the windows that ended together last are there, none before."""
    cache = filled(ended(0), ended(60, 1), ended(60, 2), life_s=0)
    assert [one.instrument_id for one in cache] == [1, 2]


def test_a_record_without_an_end_counts_from_its_start() -> None:
    """The seeds' ten fields are enough."""
    cache = MetricsCache()
    for seconds in (0, 200, 400):
        start = START + dt.timedelta(seconds=seconds)
        cache.add(record(time_window=start, window_end=None))
    assert len(cache) == 2


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 400)), max_size=40))
def test_the_same_as_filtering_all(steps: list[tuple[int, int]]) -> None:
    """The cache holds what a filter over everything would, in its order."""
    now, windows = 0, []
    for instrument_id, step in steps:
        now += step
        windows.append((instrument_id, float(now)))
    cache = filled(*windows)
    expected = [one for one in windows if one[1] > now - 300]
    actual = [(one.instrument_id, end) for one, end in zip(cache, seconds_of(cache), strict=True)]
    assert actual == expected
    for instrument_id in (1, 2, 3):
        ends = [second for owner, second in expected if owner == instrument_id]
        assert len(cache.of(instrument_id)) == len(ends)
