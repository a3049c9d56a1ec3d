"""The session table: known days, the laws a calendar obeys, look-ups, and refused tables."""

from __future__ import annotations

import datetime as dt
import importlib.util
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.calendar import FULL_SESSION_BINS, Session, Sessions, load_sessions
from ifd_fast.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
SESSIONS = load_sessions()
DIGEST = "e149c44236bbcdef82690d9ce5dcf128ca5d39f980455648b8c26d01ebbaa719"
CHICAGO = ZoneInfo("America/Chicago")


def utc_ns(text: str) -> int:
    """Return ns UTC of an ISO text without zone, whole seconds."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * 10**9


def on(date: str) -> Session:
    """Return the session of a trade date that must have one."""
    session = SESSIONS.session_of(dt.date.fromisoformat(date))
    assert session is not None
    return session


@pytest.mark.parametrize(
    ("date", "opens", "closes"),
    [
        ("2023-12-26", "2023-12-25T23:00:00", "2023-12-26T22:00:00"),  # the evening of Christmas
        ("2024-01-02", "2024-01-01T23:00:00", "2024-01-02T22:00:00"),  # the evening of New Year
        ("2026-11-26", "2026-11-25T23:00:00", "2026-11-26T18:00:00"),  # Thanksgiving
        ("2026-11-27", "2026-11-26T23:00:00", "2026-11-27T18:15:00"),  # the day after
        ("2026-03-06", "2026-03-05T23:00:00", "2026-03-06T22:00:00"),  # last of winter time
        ("2026-03-09", "2026-03-08T22:00:00", "2026-03-09T21:00:00"),  # first of summer time
        ("2026-10-30", "2026-10-29T22:00:00", "2026-10-30T21:00:00"),  # last of summer time
        ("2026-11-02", "2026-11-01T23:00:00", "2026-11-02T22:00:00"),  # first of winter time
        ("2024-05-08", "2024-05-07T22:00:00", "2024-05-08T21:00:00"),  # any day
    ],
)
def test_known_sessions(date: str, opens: str, closes: str) -> None:
    """Holidays, early closes and clock changes open and close at the known times."""
    session = on(date)
    assert (session.open_ns, session.close_ns) == (utc_ns(opens), utc_ns(closes))


@pytest.mark.parametrize("date", ["2023-12-25", "2024-01-01", "2026-11-28", "2026-11-29"])
def test_days_without_session(date: str) -> None:
    """Christmas, New Year, a Saturday and a Sunday are no trade dates."""
    assert SESSIONS.session_of(dt.date.fromisoformat(date)) is None


def test_sunday_evening_belongs_to_monday() -> None:
    """The week opens on Sunday at 17:00 in Chicago with Monday's session."""
    sunday = utc_ns("2026-11-15T23:00:00")
    assert SESSIONS.session_at(sunday - 1) is None
    session = SESSIONS.session_at(sunday)
    assert session is not None
    assert session.trade_date == dt.date(2026, 11, 16)


def test_the_daily_break_holds_no_session() -> None:
    """The hour from 16:00 to 17:00 in Chicago belongs to no session, its ends half-open."""
    close_ns = on("2026-11-17").close_ns
    at = [SESSIONS.index_at(close_ns + offset) for offset in (-1, 0, 3600 * 10**9 - 1)]
    following = SESSIONS.index_at(close_ns + 3600 * 10**9)
    assert at == [on("2026-11-17").number, -1, -1]
    assert following == on("2026-11-18").number


def test_every_session_opens_at_17_in_chicago() -> None:
    """Each open is 17:00 local time the evening before, by the system's time zone rules."""
    for session in SESSIONS:
        local = dt.datetime.fromtimestamp(session.open_ns // 10**9, tz=CHICAGO)
        assert (local.hour, local.minute, local.second) == (17, 0, 0)
        assert session.open_ns % (3600 * 10**9) == 0


def test_every_session_closes_at_16_or_early() -> None:
    """Each close is one of the exchange's local closing times."""
    legal = {(16, 0), (12, 15), (12, 0), (10, 30), (8, 15)}
    local = (dt.datetime.fromtimestamp(s.close_ns // 10**9, tz=CHICAGO) for s in SESSIONS)
    assert {(time.hour, time.minute) for time in local} == legal


def test_sessions_are_sorted_disjoint_and_never_on_saturday() -> None:
    """Dates rise, sessions don't overlap, and none is dated on or touches a Saturday."""
    assert (np.diff(SESSIONS.trade_date) > np.timedelta64(0)).all()
    assert (SESSIONS.open_ns[1:] >= SESSIONS.close_ns[:-1]).all()
    assert (SESSIONS.close_ns > SESSIONS.open_ns).all()
    weekday = (SESSIONS.trade_date.astype(np.int64) + 3) % 7  # 0 is Monday
    assert weekday.max() == 4
    assert SESSIONS.index_at(utc_ns("2026-11-21T12:00:00")) == -1


def test_a_full_session_has_276_windows() -> None:
    """A session of 23 hours has 276 windows; one with an early close has those up to it."""
    assert on("2026-11-17").bin_count() == FULL_SESSION_BINS == 276
    assert on("2026-11-27").bin_count() == 231
    full = (SESSIONS.close_ns - SESSIONS.open_ns) == 23 * 3600 * 10**9
    assert full.sum() == 6483


def test_the_span_of_the_table() -> None:
    """The table runs from 2010 to 2035 and keeps its digest."""
    assert (SESSIONS[0].trade_date, SESSIONS[len(SESSIONS) - 1].trade_date) == (
        dt.date(2010, 1, 4),
        dt.date(2035, 12, 31),
    )
    assert SESSIONS.digest == DIGEST
    assert SESSIONS.covers(utc_ns("2026-11-21T12:00:00"))
    assert not SESSIONS.covers(0)
    assert not SESSIONS.covers(utc_ns("2036-06-01T00:00:00"))


def test_the_table_is_what_the_library_says() -> None:
    """The committed table is the one that scripts/make_calendar.py writes."""
    calendars = pytest.importorskip("pandas_market_calendars", reason="a development dependency")
    table = ROOT / "ifd_fast" / "sessions.csv"
    if f"pandas_market_calendars {calendars.__version__};" not in table.read_text("utf-8"):
        pytest.skip(f"the table was made by another version than {calendars.__version__}")
    path = ROOT / "scripts" / "make_calendar.py"
    spec = importlib.util.spec_from_file_location("make_calendar", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.table_text() == table.read_text("utf-8")


def brute_index(ts_ns: int) -> int:
    """Return the session index of a time by looking at every session."""
    found = [s.number for s in SESSIONS if s.open_ns <= ts_ns < s.close_ns]
    return found[0] if found else -1


NEAR_EDGES = st.builds(
    lambda index, side, offset: int((SESSIONS.open_ns, SESSIONS.close_ns)[side][index]) + offset,
    st.integers(0, len(SESSIONS) - 1),
    st.integers(0, 1),
    st.sampled_from([-1, 0, 1]) | st.integers(-90_000 * 10**9, 90_000 * 10**9),
)
TIMES = NEAR_EDGES | st.sampled_from([-(2**63), -1, 0, 2**63 - 1])


@given(st.lists(TIMES, min_size=1, max_size=5))
def test_look_ups_agree(times: list[int]) -> None:
    """One by one, as an array and by brute force, a time lies in the same session and bin."""
    expected = [brute_index(ts_ns) for ts_ns in times]
    array = np.array(times, dtype=np.int64)
    assert [SESSIONS.index_at(ts_ns) for ts_ns in times] == expected
    assert SESSIONS.indexes_at(array).tolist() == expected
    bins = [
        -1 if index < 0 else SESSIONS[index].bin_at(ts_ns)
        for index, ts_ns in zip(expected, times, strict=True)
    ]
    assert SESSIONS.bins_at(array).tolist() == bins
    assert all(-1 <= bin_of < FULL_SESSION_BINS for bin_of in bins)


@given(NEAR_EDGES, st.integers(0, 5 * 86_400 * 10**9))
def test_sessions_between(first_ns: int, length_ns: int) -> None:
    """Exactly the sessions that share a moment with a span are found, in order."""
    last_ns = first_ns + length_ns
    expected = [s for s in SESSIONS if s.open_ns <= last_ns and s.close_ns > first_ns]
    assert SESSIONS.sessions_between(first_ns, last_ns) == expected


def test_previous_sessions_leave_out_the_date_itself() -> None:
    """History is the n sessions before a date, whether the date has a session or not."""
    before = [
        s.trade_date.isoformat() for s in SESSIONS.previous_sessions(dt.date(2023, 12, 27), 3)
    ]
    assert before == ["2023-12-21", "2023-12-22", "2023-12-26"]
    on_holiday = SESSIONS.previous_sessions(dt.date(2023, 12, 25), 1)
    assert [s.trade_date for s in on_holiday] == [dt.date(2023, 12, 22)]
    assert SESSIONS.previous_sessions(dt.date(2023, 12, 27), 0) == []


@pytest.mark.parametrize(("date", "n"), [("2010-01-06", 3), ("2023-12-27", -1)])
def test_previous_sessions_refuse_what_is_not_there(date: str, n: int) -> None:
    """A history that the table doesn't hold is an error, not a shorter list."""
    with pytest.raises(ConfigError, match=str(n)):
        SESSIONS.previous_sessions(dt.date.fromisoformat(date), n)


def test_next_session() -> None:
    """The next session opens at or after the time; beyond the table there is none."""
    session = on("2023-12-26")
    assert SESSIONS.next_session(session.open_ns) == session
    assert SESSIONS.next_session(on("2023-12-22").open_ns + 1) == session
    assert SESSIONS.next_session(2**62) is None


def test_arrays_are_read_only() -> None:
    """Nobody changes the calendar of somebody else."""
    with pytest.raises(ValueError, match="read-only"):
        SESSIONS.open_ns[0] = 0
    with pytest.raises(IndexError, match=r"0\.\."):
        SESSIONS[-1]


def write(folder: Path, *lines: str) -> Path:
    """Write a table of these lines and return its path."""
    path = folder / "sessions.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


HEADER = "trade_date,open_min,close_min"


def test_a_calendar_of_ones_own(tmp_path: Path) -> None:
    """Any other market is a file of the same form."""
    path = write(tmp_path, "# day sessions", HEADER, "2026-01-05,480,1020", "2026-01-06,480,1020")
    sessions = load_sessions(path)
    assert isinstance(sessions, Sessions)
    assert sessions[1].open_ns == utc_ns("2026-01-06T08:00:00")
    assert sessions.digest != DIGEST


@pytest.mark.parametrize(
    ("lines", "where"),
    [
        ([HEADER], "at least one"),
        (["date,open,close", "2026-01-05,0,60"], HEADER),
        ([HEADER, "2026-01-05,0"], "line 2"),
        ([HEADER, "2026-02-30,0,60"], "line 2"),
        ([HEADER, "20260105,0,60"], "line 2"),
        ([HEADER, "1066-10-14,0,60"], "line 2"),
        ([HEADER, "2026-01-05,0,1e9"], "line 2"),
        ([HEADER, "# two", "2026-01-05,60,60"], "line 3"),
        ([HEADER, "2026-01-05,0,3000"], "line 2"),
        ([HEADER, "2026-01-05,0,60", "2026-01-05,60,120"], "line 3"),
        ([HEADER, "2026-01-05,0,1500", "2026-01-06,0,60"], "line 3"),
    ],
)
def test_refused_tables(tmp_path: Path, lines: list[str], where: str) -> None:
    """A line that breaks the form is named, with the way out."""
    with pytest.raises(ConfigError, match=where):
        load_sessions(write(tmp_path, *lines))


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    """A path that can't be read is named beside the packaged calendar."""
    with pytest.raises(ConfigError, match=r"nowhere\.csv.*cme_globex_equity"):
        load_sessions(tmp_path / "nowhere.csv")
