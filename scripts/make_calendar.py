"""Write the packaged table of CME Globex equity-index sessions.

Run it at development time (`pip install .[dev]`): `python scripts/make_calendar.py`. The package
reads the table with the standard library and numpy alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

CALENDAR: Final = "CME Globex Equity"
FIRST_DATE: Final = "2010-01-01"
LAST_DATE: Final = "2035-12-31"
TABLE: Final = Path(__file__).resolve().parents[1] / "ifd_fast" / "sessions.csv"

HEADER: Final = """\
# {calendar} sessions, 17:00 to 16:00 Chicago time: one a line, the minutes from 00:00 UTC of
# the trade date to open and close. Made by scripts/make_calendar.py with
# pandas_market_calendars {version}; edit nothing here by hand.
# Sessions from {rules_from} on follow the library's holiday rules and today's daylight-saving
# rules: the exchange settles each year's times only months ahead. Not in the library: unscheduled
# halts (a day of mourning, a storm) and the 16:15 close of the years before September 2015.
trade_date,open_min,close_min
"""
RULES_FROM: Final = "2027-01-01"


def session_lines() -> list[str]:
    """Return `trade_date,open_min,close_min` of every session, oldest first."""
    import pandas as pd
    import pandas_market_calendars as calendars

    calendar = calendars.get_calendar(CALENDAR)
    schedule = calendar.schedule(FIRST_DATE, LAST_DATE, tz="UTC")
    midnight = pd.DatetimeIndex(schedule.index).tz_localize("UTC").to_series(index=schedule.index)
    minute = pd.Timedelta(minutes=1)
    opens = (schedule["market_open"] - midnight) // minute
    closes = (schedule["market_close"] - midnight) // minute
    return [
        f"{date:%Y-%m-%d},{open_min},{close_min}"
        for date, open_min, close_min in zip(schedule.index, opens, closes, strict=True)
    ]


def table_text() -> str:
    """Return the whole file: header and sessions."""
    import pandas_market_calendars as calendars

    header = HEADER.format(calendar=CALENDAR, version=calendars.__version__, rules_from=RULES_FROM)
    return header + "\n".join(session_lines()) + "\n"


def main() -> None:
    """Write the table and say how many sessions it holds."""
    text = table_text()
    TABLE.write_text(text, encoding="utf-8", newline="\n")
    sys.stdout.write(f"{TABLE.name}: {len(text.splitlines()) - 7} sessions\n")


if __name__ == "__main__":
    main()
