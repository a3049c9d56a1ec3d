"""The baseline estimates in plain Python, written from the rules: slow, small and obvious.

A session is a dict: `trade_date` (date), `open_ns`, `close_ns`, `observed_from_ns`,
`observed_to_ns`, `facts` and `instruments` (lists of dicts with the columns of the files).
"""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

WINDOW_NS = 300 * 10**9
DAY_NS = 86_400 * 10**9
BINS = 276
HALF_LIFE_SESSIONS = 8
PRIOR_SESSIONS = 0.5
NEIGHBOUR_SESSIONS = 0.5
NEIGHBOUR_SD_STRIKES = 4
NEIGHBOUR_REACH = 12
PRIOR_WINDOWS = 20
MONEYNESS_FACTORS = [0.96, 0.98, 0.99, 0.995, 0.9975, 1.0, 1.0025, 1.005, 1.01, 1.02, 1.04]
QUANTILES = [0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99]
NORMAL_QUANTILES = [-1.2815515655446004, -0.6744897501960817, 0.0, 0.6744897501960817,
                    1.2815515655446004, 1.6448536269514722, 2.3263478740408408]  # fmt: skip


def dte_class(days: int) -> int:
    """Return 0 for 0 days to expiry, 1 for 1, 2 for 2-5, 3 for 6-20, 4 for 21-60, 5 beyond."""
    for number, last in enumerate([0, 1, 5, 20, 60]):
        if days <= last:
            return number
    return 5


def moneyness_class(strike: float, mid: float | None) -> int | None:
    """Return the number of edges at or below the strike, None without a positive mid."""
    if mid is None or mid <= 0:
        return None
    return sum(strike >= mid * factor for factor in MONEYNESS_FACTORS)


def days_to_expiry(trade_date: dt.date, expiration_ns: int) -> int:
    """Return calendar days from the trade date to the expiration's UTC date, at least 0."""
    epoch_day = (trade_date - dt.date(1970, 1, 1)).days
    return max(0, expiration_ns // DAY_NS - epoch_day)


def lookback(sessions: list[dict[str, Any]], as_of: dt.date, days: int) -> list[dict[str, Any]]:
    """Return the newest `days` sessions before `as_of`, newest first."""
    before = [session for session in sessions if session["trade_date"] < as_of]
    return sorted(before, key=lambda session: session["trade_date"], reverse=True)[:days]


def options(session: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the mapped calls and puts listed in the session, by instrument_id."""
    return {
        row["instrument_id"]: row
        for row in session["instruments"]
        if row["mapped"] and row["option_type"] in ("C", "P")
    }


def observed_windows(session: dict[str, Any]) -> list[int]:
    """Return ends of windows inside what was observed, unless every mapped row is grade F."""
    mapped = {row["instrument_id"] for row in session["instruments"] if row["mapped"]}
    ends = range(session["open_ns"] + WINDOW_NS, session["close_ns"] + 1, WINDOW_NS)
    result = []
    for end in ends:
        inside = session["observed_from_ns"] <= end - WINDOW_NS and end <= session["observed_to_ns"]
        rows = [row for row in session["facts"] if row["window_end"] == end]
        grades = [row["quality"] for row in rows if row["instrument_id"] in mapped]
        if inside and not (grades and all(grade == "F" for grade in grades)):
            result.append(end)
    return result


def good_rows(session: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that count: a listed option, an observed window, not grade F."""
    listed, observed = options(session), set(observed_windows(session))
    return [
        row
        for row in session["facts"]
        if row["quality"] != "F"
        and row["window_end"] in observed
        and row["instrument_id"] in listed
    ]


def season(history: list[dict[str, Any]]) -> list[float]:
    """Return the cumulative share of a session's votes before each bin and at the end (277).

    A bin's rate is its votes by the sessions that observed it, with one session's weight of
    the mean rate beside them.
    """
    votes, seen = [0] * BINS, [0] * BINS
    for session in history:
        for end in observed_windows(session):
            seen[(end - session["open_ns"]) // WINDOW_NS - 1] += 1
        for row in good_rows(session):
            number = (row["window_end"] - session["open_ns"]) // WINDOW_NS - 1
            votes[number] += row["bid_votes_1"] + row["ask_votes_1"]
    if sum(votes) == 0:
        return [number / BINS for number in range(BINS + 1)]
    mean = sum(votes) / sum(seen)
    rates = [(v + mean) / (n + 1) for v, n in zip(votes, seen, strict=True)]
    result = [0.0]
    for rate in rates:
        result.append(result[-1] + rate)
    return [value / result[-1] for value in result]


def mids(history: list[dict[str, Any]]) -> dict[tuple[str, int], float | None]:
    """Return the underlying's mid of each observed window, carried forward where none is known."""
    known: dict[str, dict[int, float]] = {}
    for session in history:
        listed, inside = options(session), set(observed_windows(session))
        for row in session["facts"]:
            good = row["instrument_id"] in listed and row["window_end"] in inside
            if good and row["quality"] != "F" and row["underlying_price"] is not None:
                underlying = listed[row["instrument_id"]]["underlying"]
                prices = known.setdefault(underlying, {})
                price = max(prices.get(row["window_end"], -math.inf), row["underlying_price"])
                prices[row["window_end"]] = price
    result: dict[tuple[str, int], float | None] = {}
    names = {row["underlying"] for session in history for row in options(session).values()}
    for name in names:
        for session in history:
            for end in observed_windows(session):
                earlier = [at for at in known.get(name, {}) if at <= end]
                result[name, end] = known[name][max(earlier)] if earlier else None
    return result


def last_prices(history: list[dict[str, Any]]) -> dict[str, float | None]:
    """Return each underlying's newest known mid."""
    found = mids(history)
    result: dict[str, float | None] = {}
    for name in {name for name, _ in found}:
        ends = [end for other, end in found if other == name and found[other, end] is not None]
        result[name] = found[name, max(ends)] if ends else None
    return result


def keys_of(option: dict[str, Any], trade_date: dt.date, mid: float | None) -> list[Any]:
    """Return the option's four cells, narrow to wide; the second is None without a mid."""
    days = dte_class(days_to_expiry(trade_date, option["expiration"]))
    kind, underlying = option["option_type"], option["underlying"]
    near = moneyness_class(option["strike"], mid)
    return [
        ("strike", underlying, kind, days, option["strike"]),
        None if near is None else ("moneyness", underlying, kind, days, near),
        ("dte", underlying, kind, days),
        ("type", kind),
    ]


def quantile(values: list[float], share: float) -> float:
    """Return the linearly interpolated quantile of sorted `values`."""
    place = share * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def empty_cell() -> dict[str, Any]:
    """Return a cell before anything is counted."""
    return {"votes_1": 0.0, "votes_10": 0.0, "exposure": 0.0, "sessions": 0.0, "ratios": []}


def count(history: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    """Return weighted votes, weighted exposure in instrument-sessions and log ratios by cell.

    `sessions` is how deep the cell's history is: its observed shares of sessions, of any age.
    """
    cells: dict[Any, dict[str, Any]] = {}
    curve, prices = season(history), mids(history)
    for age, session in enumerate(history):
        weight = 0.5 ** (age / HALF_LIFE_SESSIONS)
        listed = options(session)
        rows = {(row["instrument_id"], row["window_end"]): row for row in session["facts"]}
        for end in observed_windows(session):
            number = (end - session["open_ns"]) // WINDOW_NS - 1
            part = curve[number + 1] - curve[number]
            share = weight * part
            present = set()
            for identity, option in listed.items():
                mid = prices[option["underlying"], end]
                keys = keys_of(option, session["trade_date"], mid)
                row = rows.get((identity, end))
                for key in keys:
                    if key is None:
                        continue
                    cell = cells.setdefault(key, empty_cell())
                    present.add(key)
                    if row is None or row["quality"] != "F":
                        cell["exposure"] += share
                    if row is not None and row["quality"] != "F":
                        cell["votes_1"] += weight * (row["bid_votes_1"] + row["ask_votes_1"])
                        cell["votes_10"] += weight * (row["bid_votes_10"] + row["ask_votes_10"])
                        if row["bid_volume"] + row["ask_volume"] > 0:
                            upper, lower = row["ask_volume"] + 0.5, row["bid_volume"] + 0.5
                            cell["ratios"].append(math.log(upper) - math.log(lower))
            for key in present:
                cells[key]["sessions"] += part
    return cells


def parent(key: Any, prices: dict[str, float | None]) -> Any:
    """Return the next wider cell; a strike's is the moneyness class at the newest mid."""
    if key[0] == "strike":
        _, underlying, kind, days, strike = key
        near = moneyness_class(strike, prices[underlying])
        wide = ("dte", underlying, kind, days)
        return wide if near is None else ("moneyness", underlying, kind, days, near)
    return ("dte", *key[1:4]) if key[0] == "moneyness" else ("type", key[2])


def neighbours(cells: dict[Any, dict[str, Any]], key: Any, name: str) -> float | None:
    """Return the Gaussian-weighted rate of the strikes within 12 places of this one."""
    group = sorted(other[4] for other in cells if other[0] == "strike" and other[1:4] == key[1:4])
    here = group.index(key[4])
    votes = exposure = 0.0
    for place, strike in enumerate(group):
        if place != here and abs(place - here) <= NEIGHBOUR_REACH:
            weight = math.exp(-0.5 * ((place - here) / NEIGHBOUR_SD_STRIKES) ** 2)
            votes += weight * cells[*key[:4], strike][name]
            exposure += weight * cells[*key[:4], strike]["exposure"]
    return votes / exposure if exposure > 1e-9 else None  # float sums cancel to about 1e-16


def estimate(
    sessions: list[dict[str, Any]], as_of: dt.date, days: int = 20
) -> dict[Any, dict[str, Any]]:
    """Return the shrunk estimates by cell: votes, log-ratio mean, sd and quantiles, sessions."""
    history = lookback(sessions, as_of, days)
    cells, prices = count(history), last_prices(history)
    result: dict[Any, dict[str, Any]] = {}
    order = ["type", "dte", "moneyness", "strike"]
    for key in sorted(cells, key=lambda key: order.index(key[0])):
        result[key] = shrink(cells, result, key, None if key[0] == "type" else parent(key, prices))
    return result


def shrink(
    cells: dict[Any, dict[str, Any]], done: dict[Any, dict[str, Any]], key: Any, wider: Any
) -> dict[str, Any]:
    """Return one cell's estimates, pulled to its wider cell by the history it has."""
    cell = cells[key]
    if wider is not None and wider not in done:
        wider = ("dte", *key[1:4])  # no option was ever in that moneyness class
    result: dict[str, Any] = {"sessions": cell["sessions"], "windows": len(cell["ratios"])}
    for name in ("votes_1", "votes_10"):
        votes, exposure = cell[name], cell["exposure"]
        if wider is not None:
            votes += PRIOR_SESSIONS * done[wider][name]
            exposure += PRIOR_SESSIONS
        beside = neighbours(cells, key, name) if key[0] == "strike" else None
        if beside is not None:
            votes += NEIGHBOUR_SESSIONS * beside
            exposure += NEIGHBOUR_SESSIONS
        result[name] = votes / exposure if exposure > 1e-9 else 0.0
    ratios = sorted(cell["ratios"])
    prior: dict[str, Any] = done[wider] if wider is not None else {
        "mean": 0.0, "sd": 1.0, "quantiles": NORMAL_QUANTILES,
    }  # fmt: skip
    own = len(ratios) / (len(ratios) + PRIOR_WINDOWS)
    mean = sum(ratios) / len(ratios) if ratios else 0.0
    sd = math.sqrt(sum((r - mean) ** 2 for r in ratios) / len(ratios)) if ratios else 0.0
    result["mean"] = own * mean + (1 - own) * prior["mean"]
    result["sd"] = own * sd + (1 - own) * prior["sd"]
    result["quantiles"] = [
        (own * quantile(ratios, share) if ratios else 0.0) + (1 - own) * wide
        for share, wide in zip(QUANTILES, prior["quantiles"], strict=True)
    ]
    return result
