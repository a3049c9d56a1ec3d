"""Trading sessions: when the market is open, which trade date it is, where in the day a time lies.

A session is [open, close) in ns UTC. The packaged table holds CME Globex equity-index sessions,
17:00 to 16:00 Chicago time; another calendar is a file of the same form. The engine works in UTC:
local time enters through the opens alone, so "the same time of day" is the same time since open.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_fast.errors import ConfigError

__all__ = [
    "BIN_S",
    "FULL_SESSION_BINS",
    "PACKAGED_CALENDAR",
    "Session",
    "Sessions",
    "load_sessions",
]

PACKAGED_CALENDAR: Final = "cme_globex_equity"
BIN_S: Final = 300  # one bin of the time of day: the length of a tumbling window
FULL_SESSION_BINS: Final = 276  # 23 hours

_HEADER: Final = "trade_date,open_min,close_min"
_LINE: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}),(-?[0-9]{1,5}),(-?[0-9]{1,5})")
_MINUTE_NS: Final = 60_000_000_000
_DAY_NS: Final = 86_400_000_000_000
_LONGEST_MIN: Final = 2 * 24 * 60  # a session of over two days is a typing error


class Session(NamedTuple):
    """One session, [open_ns, close_ns) in ns UTC; `number` is its place in `Sessions`."""

    number: int
    trade_date: dt.date
    open_ns: int
    close_ns: int

    def bin_at(self, ts_ns: int, bin_s: int = BIN_S) -> int:
        """Return which bin of `bin_s` seconds since the open holds `ts_ns`."""
        return (ts_ns - self.open_ns) // (bin_s * 1_000_000_000)

    def bin_count(self, bin_s: int = BIN_S) -> int:
        """Return how many bins of `bin_s` seconds the session has, a shorter last one included."""
        return -((self.open_ns - self.close_ns) // (bin_s * 1_000_000_000))


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """All sessions of a calendar, oldest first, disjoint; arrays (n,), read-only.

    `trade_date` is datetime64[D], `open_ns` and `close_ns` int64 ns UTC; `digest` is the SHA-256
    of the three.
    """

    name: str
    trade_date: NDArray[np.datetime64]
    open_ns: NDArray[np.int64]
    close_ns: NDArray[np.int64]
    digest: str

    def __len__(self) -> int:
        return len(self.open_ns)

    def __getitem__(self, index: int) -> Session:
        if not 0 <= index < len(self):
            raise IndexError(f"session index must be within 0..{len(self) - 1}, was {index}")
        return Session(
            index,
            self.trade_date[index].astype(object),
            int(self.open_ns[index]),
            int(self.close_ns[index]),
        )

    def __iter__(self) -> Iterator[Session]:
        return (self[index] for index in range(len(self)))

    def covers(self, ts_ns: int) -> bool:
        """Tell whether `ts_ns` lies in the table's span, where "no session" means closed."""
        return bool(self.open_ns[0] <= ts_ns < self.close_ns[-1])

    def index_at(self, ts_ns: int) -> int:
        """Return the index of the session that holds `ts_ns`, -1 if none does."""
        index = int(np.searchsorted(self.open_ns, ts_ns, side="right")) - 1
        return index if index >= 0 and ts_ns < self.close_ns[index] else -1

    def session_at(self, ts_ns: int) -> Session | None:
        """Return the session that holds `ts_ns`, None between sessions and outside the table."""
        index = self.index_at(ts_ns)
        return None if index < 0 else self[index]

    def next_session(self, ts_ns: int) -> Session | None:
        """Return the first session that opens at or after `ts_ns`, None beyond the table."""
        index = int(np.searchsorted(self.open_ns, ts_ns, side="left"))
        return self[index] if index < len(self) else None

    def indexes_at(self, ts_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the session index of each time (n,), -1 where no session holds it."""
        index = np.searchsorted(self.open_ns, ts_ns, side="right") - 1
        inside = (index >= 0) & (ts_ns < self.close_ns[index])
        return np.where(inside, index, -1).astype(np.int64)

    def bins_at(self, ts_ns: NDArray[np.int64], bin_s: int = BIN_S) -> NDArray[np.int64]:
        """Return the bin since its session's open of each time (n,), -1 outside sessions."""
        index = self.indexes_at(ts_ns)
        since_open_ns = ts_ns - self.open_ns[index]
        return np.where(index >= 0, since_open_ns // (bin_s * 1_000_000_000), -1)

    def session_of(self, trade_date: dt.date) -> Session | None:
        """Return the session of a trade date, None if that date has none."""
        day = np.datetime64(trade_date, "D")
        index = int(np.searchsorted(self.trade_date, day))
        return self[index] if index < len(self) and self.trade_date[index] == day else None

    def sessions_between(self, first_ns: int, last_ns: int) -> list[Session]:
        """Return the sessions that share a moment with [first_ns, last_ns], oldest first."""
        start = int(np.searchsorted(self.close_ns, first_ns, side="right"))
        stop = int(np.searchsorted(self.open_ns, last_ns, side="right"))
        return [self[index] for index in range(start, stop)]

    def previous_sessions(self, trade_date: dt.date, n: int) -> list[Session]:
        """Return the `n` sessions before a trade date, oldest first, never that date's own.

        Raises
        ------
        ConfigError
            If the table does not reach that far back.
        """
        if n < 0:
            raise ConfigError(f"`n` must be at least 0 sessions, was {n}")
        stop = int(np.searchsorted(self.trade_date, np.datetime64(trade_date, "D")))
        if stop < n:
            raise ConfigError(
                f"{n} sessions before {trade_date} were asked for, calendar {self.name} has"
                f" {stop}. Use fewer, or a calendar that starts earlier."
            )
        return [self[index] for index in range(stop - n, stop)]


def load_sessions(calendar: str | Path = PACKAGED_CALENDAR) -> Sessions:
    """Read the packaged calendar by its name, or a table of the same form by its path.

    Raises
    ------
    ConfigError
        If the file can't be read or a line breaks the form; the message names file and line.
    """
    if str(calendar) == PACKAGED_CALENDAR:
        return _load_packaged()
    path = Path(calendar)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"calendar {path} can't be read: {error}. Use {PACKAGED_CALENDAR} or a table's path."
        ) from None
    return _parse(str(path), text)


@cache
def _load_packaged() -> Sessions:
    """Read the packaged table once a process: its arrays are read-only."""
    text = (resources.files("ifd_fast") / "sessions.csv").read_text(encoding="utf-8")
    return _parse(PACKAGED_CALENDAR, text)


def _parse(name: str, text: str) -> Sessions:
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line and not line.startswith("#")
    ]
    if len(lines) < 2 or lines[0][1] != _HEADER:
        raise ConfigError(f"calendar {name} must be the line `{_HEADER}` and at least one session")
    dates: list[str] = []
    minutes: list[tuple[int, int]] = []
    for number, line in lines[1:]:
        date, open_min, close_min = _parse_line(f"calendar {name}, line {number}", line)
        dates.append(date)
        minutes.append((open_min, close_min))
    midnight_ns = np.array(dates, dtype="datetime64[D]").astype(np.int64) * _DAY_NS
    edges_ns = np.array(minutes, dtype=np.int64) * _MINUTE_NS + midnight_ns[:, None]
    _check_order(name, [number for number, _ in lines[1:]], midnight_ns, edges_ns)
    return _freeze(name, np.array(dates, dtype="datetime64[D]"), edges_ns)


def _parse_line(where: str, line: str) -> tuple[str, int, int]:
    found = _LINE.fullmatch(line)
    try:
        year = dt.date.fromisoformat(found[1]).year if found else 0
    except ValueError:
        year = 0
    if found is None or not 1970 <= year < 2200:  # int64 ns end in 2262
        raise ConfigError(f"{where}: must be `{_HEADER}` as in `2026-11-27,-60,1095`, was {line!r}")
    date, open_min, close_min = found[1], int(found[2]), int(found[3])
    if not open_min < close_min <= open_min + _LONGEST_MIN or abs(open_min) > _LONGEST_MIN:
        raise ConfigError(
            f"{where}: open must come before close, within two days, was {open_min} and {close_min}"
        )
    return date, open_min, close_min


def _check_order(
    name: str, numbers: list[int], midnight_ns: NDArray[np.int64], edges_ns: NDArray[np.int64]
) -> None:
    wrong = (np.diff(midnight_ns) <= 0) | (edges_ns[1:, 0] < edges_ns[:-1, 1])
    if wrong.any():
        number = numbers[int(np.argmax(wrong)) + 1]
        raise ConfigError(
            f"calendar {name}, line {number}: dates must rise and a session must open at or after"
            " the one before it closed. Sort the lines and drop what overlaps."
        )


def _freeze(name: str, trade_date: NDArray[np.datetime64], edges_ns: NDArray[np.int64]) -> Sessions:
    open_ns = np.ascontiguousarray(edges_ns[:, 0])
    close_ns = np.ascontiguousarray(edges_ns[:, 1])
    digest = hashlib.sha256()
    for column in (trade_date.astype(np.int64), open_ns, close_ns):
        digest.update(column.astype("<i8").tobytes())
    for array in (trade_date, open_ns, close_ns):
        array.flags.writeable = False
    return Sessions(name, trade_date, open_ns, close_ns, digest.hexdigest())
