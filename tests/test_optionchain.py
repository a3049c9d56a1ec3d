"""The simulated chain: the exchange's names and days, and ids that mean one instrument each.

Goal: symbols that the 27 parents of NQ would list. Method: known days, and any day.
"""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.optionchain import expiry_symbol, list_chain, list_expiries, quarter_end

DAY = dt.date(2026, 3, 10)


def test_symbols_are_the_exchanges() -> None:
    """Quarterlies, Fridays, weekdays and month ends have the roots of NQ's 27 parents."""
    expected = {
        dt.date(2026, 3, 20): ("NQ", "NQH6"),
        dt.date(2026, 3, 13): ("QN2", "QN2H6"),
        dt.date(2026, 3, 10): ("Q2B", "Q2BH6"),
        dt.date(2026, 3, 31): ("QNE", "QNEH6"),
        dt.date(2026, 4, 17): ("QN3", "QN3J6"),
    }
    for day, names in expected.items():
        assert expiry_symbol(day) == names


@given(day=st.dates(dt.date(2020, 1, 1), dt.date(2030, 1, 1)))
def test_the_quarter_is_a_third_friday_ahead(day: dt.date) -> None:
    """The next quarter's end lies a week to four months ahead, on a third Friday."""
    last = quarter_end(day)
    assert last.weekday() == 4
    assert 15 <= last.day <= 21
    assert last.month % 3 == 0
    assert 7 <= (last - day).days <= 105


def test_expiries_are_not_listed_twice() -> None:
    """If a Friday is also the month's end, the later one moves on."""
    friday = dt.date(2026, 7, 31)
    found = list_expiries(friday, ["day+0", "friday", "month-end", "quarter"])
    assert len(set(found)) == 4


def test_an_id_is_one_instruments() -> None:
    """No two instruments of a day share an id, and a symbol keeps its id from day to day."""
    first = list_chain(DAY, ["day+3", "quarter"], 100, 25.0, 21_000.0, 20)
    second = list_chain(DAY + dt.timedelta(1), ["day+2", "quarter"], 100, 25.0, 21_000.0, 20)
    assert len({item.instrument_id for item in first}) == len(first)
    assert [item.symbol for item in first] == [item.symbol for item in second]
    assert [item.instrument_id for item in first] == [item.instrument_id for item in second]
