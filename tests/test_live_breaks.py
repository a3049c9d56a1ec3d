"""The hour a day and the two days a week without a market: rows end and begin at the bell."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import polars as pl
import pytest

from ifd_fast.live_states import State
from ifd_fast.session_record import EntryKind
from tests.live_server import Script, Told, serving
from tests.strategies_interface import CALL, OPEN, SECOND, TODAY, event
from tests.strategies_wire import mbo
from tests.test_live_clocks import BEGIN, Steps, beat
from tests.test_live_session import Run, live_header, message, records, replayed, same
from tests.test_live_streams import oracle

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.jit
DAY_S = 86_400
CLOSE_S = (TODAY.close_ns - OPEN) // SECOND
OPENED = dt.datetime.fromtimestamp(OPEN / 1e9, dt.UTC)
# From the open of the tests' session to that of a Friday's, and on to the next week's.
FRIDAY_S = (3 - OPENED.weekday()) % 7 * DAY_S
SUNDAY_S = FRIDAY_S + 3 * DAY_S
BEAT_S = 6


def pass_time(run: Run, steps: Steps, numbers: range) -> None:
    """Let pieces through, a heartbeat's time apart, through all of which the session is live."""
    for number in numbers:
        run.clock.now_ns += BEAT_S * SECOND
        steps.send(run, number)
        assert run.session.state is State.LIVE


def beats(begin_s: int, end_s: int) -> list[bytes]:
    """Return a heartbeat each 6 s of that time, both ends too."""
    return [beat(second) for second in range(begin_s, end_s + 1, BEAT_S)]


def snapshot(second: int) -> bytes:
    """Return the snapshot of an empty book, made so many seconds after the tests' open."""
    at_ns = OPEN + second * SECOND
    return mbo(
        action="R",
        side="N",
        order_id=0,
        size=0,
        flags=40,
        instrument_id=CALL,
        ts_event=at_ns,
        ts_recv=at_ns,
    )


def ends(windows: pl.DataFrame) -> list[int]:
    """Return when rows' windows end, seconds after the open."""
    times = windows["window_end"].cast(pl.Int64).unique().sort().to_list()
    return [(one - OPEN) // SECOND for one in times]


def test_the_daily_break(tmp_path: Path) -> None:
    """Live through it: the last window is out at the close, the next day's begins at its open.

    The file is replayed first: what that compiles would be waited for at the socket.
    """
    last, first = event(CLOSE_S - 6.5, size=3), event(DAY_S + 0.5, size=2)
    clean = oracle([*records(), last, first, event(DAY_S + 330)], tmp_path).windows
    before, after = beats(CLOSE_S, DAY_S - BEAT_S), beats(DAY_S + BEAT_S, DAY_S + 318)
    steps = Steps(BEGIN, b"".join(records()), last, *before, first, *after)
    with serving(steps.play) as gateway:
        run = Run(gateway.address, wall_ns=OPEN + (CLOSE_S - BEAT_S) * SECOND)
        for number in range(3):
            steps.send(run, number)
        pass_time(run, steps, range(3, 5))
        told = ends(pl.concat(run.drain._frames["windows"]))
        assert told[-1] == CLOSE_S  # 6 s after the bell, not with the next day's first trade
        pass_time(run, steps, range(5, len(steps.pieces)))
        assert run.session.counts["connections"] == 1
        found = run.finish()
    assert ends(found.windows) == [*told, DAY_S + 300]
    assert same(found.windows, clean.head(-1))  # its last one is of the record that ends it
    assert replayed(run.record, 1_001).rows_digest == found.rows_digest


def test_the_weekly_break(tmp_path: Path) -> None:
    """Cut on Friday evening, replay aged out: no row of the old or the new week bears the gap.

    The snapshot of a market that is closed is old by the time it comes; that is no lag.
    """
    stream = [*records(), event(FRIDAY_S + CLOSE_S - 6.5, size=3)]
    opening = event(SUNDAY_S + 0.5, size=2)
    clean = oracle([*stream, opening, event(SUNDAY_S + 330)], tmp_path).windows
    closed = beats(FRIDAY_S + CLOSE_S, FRIDAY_S + CLOSE_S + 60)
    week = beats(SUNDAY_S - 300, SUNDAY_S - BEAT_S), beats(SUNDAY_S + BEAT_S, SUNDAY_S + 318)
    friday = Steps(BEGIN, b"".join(stream), *closed)
    sunday = Steps(BEGIN + snapshot(SUNDAY_S - 360), *week[0], opening, *week[1])

    def play(number: int, told: Told) -> Script:
        if number == 1:
            return Script(friday.play(number, told).pieces, "eof")
        if told.of("mbo").get("start"):
            return Script([live_header() + message(0x15, 8, "Replay data aged out")], "eof")
        return sunday.play(number, told)

    with serving(play) as gateway:
        run = Run(gateway.address, wall_ns=OPEN + (FRIDAY_S + CLOSE_S - BEAT_S) * SECOND)
        for number in range(2):
            friday.send(run, number)
        pass_time(run, friday, range(2, len(friday.pieces)))
        run.until(lambda: run.session.counts["connections_lost"] == 1)
        assert run.session.state is State.RECOVERING
        run.clock.now_ns += OPEN + (SUNDAY_S - 306) * SECOND - run.clock.wall_ns()
        run.until(lambda: run.session.counts["connections"] == 3)
        sunday.before = run.session.counts["bytes"]
        sunday.send(run, 0)
        pass_time(run, sunday, range(1, len(sunday.pieces)))
        found = run.finish()
    gaps = [one.payload for one in run.record.entries if one.kind is EntryKind.GAP]
    assert len(gaps) == 1
    assert int(str(gaps[0]["end_ns"])) < OPEN + SUNDAY_S * SECOND
    assert same(found.windows, clean.head(-1))
    assert replayed(run.record, 1_001).rows_digest == found.rows_digest
