"""The instruments of a simulated session: a future, calls and puts, user-defined spreads."""

from __future__ import annotations

import datetime as dt
import zlib
from typing import Final, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from ifd_fast.errors import ConfigError
from ifd_fast.world import World

__all__ = ["Listing", "expiry_symbol", "list_chain", "list_expiries", "list_world", "quarter_end"]

Legs: TypeAlias = tuple[tuple[int, str], tuple[int, str]]

CHICAGO: Final = ZoneInfo("America/Chicago")
MONTH_CODES: Final = "FGHJKMNQUVXZ"
IDS_FIRST: Final = 42_000_000
IDS: Final = 1_000_000
DAY_NS: Final = 86_400_000_000_000


class Listing(NamedTuple):
    """One instrument: what its definition says. Prices are points, times ns UTC."""

    instrument_id: int
    symbol: str
    instrument_class: str  # F, C, P; T: spread of options, M: of options and futures
    asset: str
    underlying: str
    underlying_id: int
    strike: float  # 0: none
    expiration_ns: int
    legs: tuple[tuple[int, str], ...]  # (place in the chain, side B or A)


def _third_friday(year: int, month: int) -> dt.date:
    first = dt.date(year, month, 1)
    return first + dt.timedelta(days=(4 - first.weekday()) % 7 + 14)


def quarter_end(day: dt.date) -> dt.date:
    """Return the next third Friday of March, June, September or December, a week ahead or more."""
    year, month = day.year, (day.month + 2) // 3 * 3
    while (found := _third_friday(year, month)) < day + dt.timedelta(days=7):
        year, month = (year + 1, 3) if month == 12 else (year, month + 3)
    return found


def _is_month_end(day: dt.date) -> bool:
    later = day + dt.timedelta(days=1)
    while later.weekday() > 4:
        later += dt.timedelta(days=1)
    return later.month != day.month


def expiry_symbol(day: dt.date) -> tuple[str, str]:
    """Return the asset and the symbol's first part of the NQ options that expire on `day`."""
    week = (day.day - 1) // 7 + 1
    if day.month % 3 == 0 and day == _third_friday(day.year, day.month):
        asset = "NQ"
    elif _is_month_end(day):
        asset = "QNE"
    elif day.weekday() == 4:
        asset = f"QN{week}"
    else:
        asset = f"Q{week}{'ABCD'[day.weekday()]}"
    return asset, f"{asset}{MONTH_CODES[day.month - 1]}{day.year % 10}"


def list_expiries(trade_date: dt.date, wanted: list[str]) -> list[dt.date]:
    """Return the expiry days of `wanted`: day+N, friday, month-end, quarter; never one twice."""
    days = [trade_date + dt.timedelta(days=n) for n in range(400)]
    days = [day for day in days if day.weekday() < 5]
    chosen: list[dt.date] = []
    for name in wanted:
        if name == "quarter":
            last = quarter_end(trade_date)
            candidates = [day for day in days if day >= last]
        elif name == "friday":
            candidates = [day for day in days if day.weekday() == 4]
        elif name == "month-end":
            candidates = [day for day in days if _is_month_end(day)]
        elif name.startswith("day+") and name[4:].isdigit():
            candidates = days[int(name[4:]) :]
        else:
            raise ConfigError(
                f"`expiries` must be of day+N, friday, month-end, quarter, was {name!r}."
            )
        chosen.append(next(day for day in candidates if day not in chosen))
    return chosen


def _expiration_ns(day: dt.date) -> int:
    close = dt.datetime.combine(day, dt.time(15, 0), CHICAGO)
    return int(close.timestamp()) * 1_000_000_000


def _assign_id(symbol: str, taken: set[int]) -> int:
    """Return the same id for a symbol on every day, unless two symbols of a day would share it."""
    offset = zlib.crc32(symbol.encode()) % IDS
    while offset in taken:
        offset = (offset + 1) % IDS
    taken.add(offset)
    return IDS_FIRST + offset


def list_chain(
    trade_date: dt.date,
    expiries: list[str],
    strikes: int,
    step: float,
    middle: float,
    spreads: int,
    covered: int = 0,
    calendars: int = 0,
) -> list[Listing]:
    """Return the future, then `strikes` calls and puts around `middle` per expiry, then spreads.

    `spreads` are verticals and straddles; then come `covered` and `calendars`.
    """
    taken: set[int] = set()
    quarter = quarter_end(trade_date)
    future = f"NQ{MONTH_CODES[quarter.month - 1]}{quarter.year % 10}"
    future_id = _assign_id(future, taken)
    expiration_ns = _expiration_ns(quarter)
    chain = [Listing(future_id, future, "F", "NQ", "", 0, 0.0, expiration_ns, ())]
    lowest = round(middle / step) * step - step * (strikes // 2)
    for day in list_expiries(trade_date, expiries):
        asset, first = expiry_symbol(day)
        for number in range(strikes):
            strike = lowest + step * number
            for kind in "CP":
                symbol = f"{first} {kind}{strike:g}"
                chain.append(
                    Listing(
                        _assign_id(symbol, taken),
                        symbol,
                        kind,
                        asset,
                        future,
                        future_id,
                        strike,
                        _expiration_ns(day),
                        (),
                    )
                )
    chain.extend(_list_spreads(chain, spreads, strikes, taken))
    outrights = len(chain) - spreads
    legs = [_covered_legs(outrights, strikes, number) for number in range(covered)]
    legs += [_calendar_legs(outrights, strikes, number) for number in range(calendars)]
    for number, (strategy, pair) in enumerate(legs):
        chain.append(_list_spread(chain, strategy, 2_600_000 + number, pair, taken))
    return chain


def list_world(world: World, trade_date: dt.date) -> list[Listing]:
    """Return what `world` lists on `trade_date`."""
    chain, packages = world.chain, world.packages
    return list_chain(
        trade_date,
        chain.expiries,
        chain.strikes,
        chain.strike_step,
        chain.middle,
        chain.spreads,
        packages.covered if packages else 0,
        packages.calendars if packages else 0,
    )


def _covered_legs(outrights: int, strikes: int, number: int) -> tuple[str, Legs]:
    """Return an option near the money against the future: a call sold with it, a put bought."""
    expiries = (outrights - 1) // (2 * strikes)
    place = (number % expiries) * strikes + strikes // 2 - (number // expiries) % 8 + 4
    place = min(max(place, 0), expiries * strikes - 1)
    if number % 2:
        return "CV", ((2 + 2 * place, "B"), (0, "B"))
    return "CV", ((1 + 2 * place, "B"), (0, "A"))


def _calendar_legs(outrights: int, strikes: int, number: int) -> tuple[str, Legs]:
    """Return one strike of two expiries: the later bought, the earlier sold."""
    expiries = (outrights - 1) // (2 * strikes)
    near = number % max(expiries - 1, 1)
    strike = min(max(strikes // 2 - 4 + (number // 2) % 8, 0), strikes - 1)
    early = 1 + 2 * (near * strikes + strike) + number % 2
    late = early + 2 * strikes if expiries > 1 else early - 2 if strike else early + 2
    return "HO", ((late, "B"), (early, "A"))


def _list_spreads(
    chain: list[Listing], spreads: int, strikes: int, taken: set[int]
) -> list[Listing]:
    """Return verticals, some with negative prices, and straddles, all near the money."""
    listed: list[Listing] = []
    expiries = (len(chain) - 1) // (2 * strikes)
    for number in range(spreads):
        expiry = number % expiries
        middle = strikes // 2 + (number // expiries) % max(strikes // 2, 1) - strikes // 4
        call = 1 + 2 * (expiry * strikes + min(max(middle, 0), strikes - 1))
        if number % 4 == 3:
            legs, strategy = ((call, "B"), (call + 1, "B")), "ST"
        else:
            other = 1 + 2 * (expiry * strikes + min(max(middle + 2, 1), strikes - 1))
            if number % 4 == 1:
                call, other = call + 1, other + 1  # puts
            legs, strategy = ((call, "B"), (other, "A")), "VT"
        listed.append(_list_spread(chain, strategy, 2_500_000 + number, legs, taken))
    return listed


def _list_spread(
    chain: list[Listing], strategy: str, raw_id: int, legs: Legs, taken: set[int]
) -> Listing:
    symbol = f"UD:1V: {strategy} {raw_id}"
    leg = chain[legs[0][0]]
    return Listing(
        _assign_id(symbol, taken),
        symbol,
        "M" if any(chain[place].instrument_class == "F" for place, _ in legs) else "T",
        leg.asset,
        leg.underlying,
        leg.underlying_id,
        0.0,
        leg.expiration_ns,
        legs,
    )
