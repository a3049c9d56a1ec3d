"""Windows of every kind by hand: where they begin and end, at session edges and after silence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.flows import FlowSettings
from ifd_kernels.pressure import AHEAD_LIMIT_NS
from tests.strategies_engine import (
    DAY,
    OPEN,
    SECOND,
    SESSIONS,
    as_bytes,
    event,
    feed,
    make_engine,
    play,
    rows_of,
)

MINUTE = 60 * SECOND


def settings(window_s: int = 300, step_s: int = 300, lateness_ns: int = SECOND) -> dict[str, int]:
    """Return settings of one kind of window."""
    return {"window_s": window_s, "step_s": step_s, "lateness_ns": lateness_ns}


def spans(window_s: int, step_s: int, *times_ns: int) -> list[tuple[int, int, int]]:
    """Return start and end in seconds since the open, and trades, of each window."""
    rows = rows_of(play([event(ts_ns) for ts_ns in times_ns], settings(window_s, step_s)))
    return [
        (
            (row["window_start"] - OPEN) // SECOND,
            (row["window_end"] - OPEN) // SECOND,
            row["total_trades"],
        )
        for row in rows["windows"]
    ]


def test_tumbling_windows_are_half_open() -> None:
    """The last nanosecond belongs to a window, the next to the one after."""
    edge = OPEN + 300 * SECOND
    assert spans(300, 300, edge - 1, edge) == [(0, 300, 1), (300, 600, 1)]


def test_sliding_windows_never_reach_over_the_open() -> None:
    """Windows of five minutes, each minute: the first ones are as long as the session is old."""
    found = spans(300, 60, OPEN + 30 * SECOND, OPEN + 6 * MINUTE)
    assert found[:5] == [(0, 60, 1), (0, 120, 1), (0, 180, 1), (0, 240, 1), (0, 300, 1)]
    # At the end the step and the facts that hold the last record close: up to minute 10.
    assert found[5:] == [(120, 420, 1), (180, 480, 1), (240, 540, 1), (300, 600, 1)]


def test_windows_are_cut_where_the_session_ends() -> None:
    """Windows of an hour, in a session from 12:25 to 13:15: cut at the open, at 13:00, at 13:15."""
    close = SESSIONS[0][1]
    found = spans(3600, 3600, OPEN, OPEN + 40 * MINUTE, close - 1, close + 70 * MINUTE)
    assert found[:2] == [(0, 2100, 1), (2100, 3000, 2)]


@pytest.mark.parametrize("gap_ns", [SECOND, 301 * SECOND, DAY, 900 * DAY])
def test_no_window_spans_a_break(gap_ns: int) -> None:
    """What trades before the close and after the next open is never in one window."""
    later = SESSIONS[1][0] + 5 * SECOND
    rows = rows_of(
        play([event(SESSIONS[0][1] - 1), event(later), event(later + gap_ns)], settings())
    )
    assert rows["windows"][0]["window_end"] == SESSIONS[0][1]
    assert rows["windows"][1]["window_start"] == SESSIONS[1][0]


def test_several_windows_that_expire_together_all_come() -> None:
    """One record long after the last emits every window that waited, in order of its end."""
    engine = make_engine(settings(300, 60))
    feed(engine, [as_bytes([event(OPEN + MINUTE), event(OPEN + 40 * MINUTE)])])
    ends = [row["window_end"] for row in rows_of(engine)["windows"]]
    assert ends == [OPEN + (2 + number) * MINUTE for number in range(5)]


@pytest.mark.parametrize("lateness_ns", [0, SECOND // 2, SECOND, 3 * SECOND])
def test_a_window_is_due_once_lateness_has_passed(lateness_ns: int) -> None:
    """Not a nanosecond before its end and lateness; then at once."""
    due = OPEN + 300 * SECOND + lateness_ns
    engine = make_engine(settings(lateness_ns=lateness_ns))
    feed(engine, [as_bytes([event(OPEN), event(due - 1, "A")])])
    assert rows_of(engine)["windows"] == []
    feed(engine, [as_bytes([event(due, "A")])])
    assert len(rows_of(engine)["windows"]) == 1


def test_a_tick_moves_time_as_a_record_does() -> None:
    """A tick emits what is due; ticks back in time, and before time began, do nothing."""
    engine = make_engine(settings())
    engine.tick(OPEN)
    assert engine.watermark_ns == -1
    feed(engine, [as_bytes([event(OPEN)])])
    engine.tick(OPEN - 1)
    assert engine.watermark_ns == OPEN
    engine.tick(OPEN + 301 * SECOND)
    assert len(rows_of(engine)["windows"]) == 1


@given(
    step_s=st.sampled_from([1, 2, 7, 60, 100, 300]),
    steps=st.integers(1, 40),
    lateness_ns=st.one_of(st.integers(0, 3 * SECOND), st.integers(0, 700 * SECOND)),
    watermark_ns=st.integers(10**12, 10**12 + 600 * SECOND),
)
def test_a_slot_keeps_every_pane_in_use(
    step_s: int, steps: int, lateness_ns: int, watermark_ns: int
) -> None:
    """From the first pane of the window due next to where a record may claim to be: all fit."""
    flow = FlowSettings(step_s * steps, step_s, lateness_ns)
    pane_ns = flow.pane_s * SECOND
    open_first = (watermark_ns - lateness_ns) // pane_ns  # its end and lateness are yet to come
    span = max(flow.window_panes, flow.facts_panes)
    ahead = (watermark_ns + AHEAD_LIMIT_NS) // pane_ns
    assert ahead - (open_first - span + 1) + 1 <= flow.panes_kept
