"""A month's spending: day, month, forecast, by schema and parent, and what could be saved."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ifd_fast.budget import Budget, budget_of, ledger_of
from ifd_fast.calendar import Sessions, load_sessions
from ifd_fast.errors import IfdError
from ifd_fast.pricing import shown_ns
from ifd_fast.profiles import Profile
from ifd_fast.savings import Saving, find_savings, symbol_prices_1e9
from ifd_fast.spending import Spent, month_of
from ifd_fast.universe import load_universe

__all__ = ["describe_spending", "forecast_1e9"]

_DAY_NS = 86_400_000_000_000
_STORE_WAIT_S = 1.0


def describe_spending(profile: Profile, month: str, now_ns: int) -> dict[str, Any]:
    """Return what docs/cost.md lists; amounts in US dollars.

    Raises
    ------
    IfdError
        If the ledger can't be read, or settings name what isn't there.
    """
    spent = ledger_of(profile).spent(month)
    budget = budget_of(profile)
    sessions = load_sessions(profile.calendar)
    total = sum(one.price.usd_1e9 for one in spent)
    forecast = forecast_1e9(total, month, now_ns, sessions)
    universe = load_universe(profile.universe)
    stored = _stored_dates(Path(profile.baselines_path))
    savings = find_savings(spent, universe, sessions, stored)
    is_current = month == month_of(now_ns)
    return {
        "ledger": profile.budget_ledger,
        "month": month,
        "day": shown_ns(now_ns // _DAY_NS * _DAY_NS) if is_current else None,
        "day_usd": _usd(_of_day(spent, now_ns)) if is_current else None,
        "month_usd": _usd(total),
        "forecast_usd": _usd(forecast),
        "limit_usd": _usd(budget.limit_1e9),
        "kept_usd": _usd(budget.kept_1e9),
        "expected_usd": _usd(budget.expected_1e9),
        "left_usd": _usd(max(0, budget.ceiling_1e9 - total)),
        "warnings": _warnings(budget, total, forecast),
        "open": [_open_row(one) for one in spent if one.is_open],
        "by_schema": _grouped((one.request.schema, one.price.usd_1e9, one) for one in spent),
        "by_parent": _grouped(row for one in spent for row in _parent_rows(one)),
        "savings": [_saving_row(one) for one in savings],
    }


def forecast_1e9(total_1e9: int, month: str, now_ns: int, sessions: Sessions) -> int:
    """Return what a month comes to if its other sessions cost what those begun so far did.

    A month that is over, has no session yet or lies beyond the calendar keeps its total.
    """
    opens = [
        int(open_ns)
        for trade_date, open_ns in zip(sessions.trade_date, sessions.open_ns, strict=True)
        if str(trade_date).startswith(month)
    ]
    begun = sum(open_ns <= now_ns for open_ns in opens)
    if month != month_of(now_ns) or begun == 0:
        return total_1e9
    return total_1e9 * len(opens) // begun


def _of_day(spent: Sequence[Spent], now_ns: int) -> int:
    return sum(
        one.price.usd_1e9 for one in spent if one.reserved_ns // _DAY_NS == now_ns // _DAY_NS
    )


def _warnings(budget: Budget, total: int, forecast: int) -> list[str]:
    found = []
    if total > budget.ceiling_1e9:
        found.append("The budget is passed: nothing more is sent this month.")
    elif total >= budget.alert_1e9 and total:
        share = total / budget.ceiling_1e9
        found.append(
            f"{share:.0%} of the budget is spent; the alert stands at {budget.alert_share:.0%}."
        )
    if forecast > budget.ceiling_1e9 >= total:
        found.append("At this rate the budget ends before the month does.")
    elif forecast > budget.expected_1e9 >= total:
        found.append("At this rate the month costs more than expected.")
    return found


def _parent_rows(one: Spent) -> Iterable[tuple[str, int, Spent]]:
    prices = symbol_prices_1e9(one)
    if prices is None:
        first, others = one.request.symbols[0], len(one.request.symbols) - 1
        return [(f"{first} and {others} more, priced together", one.price.usd_1e9, one)]
    return [(symbol, usd_1e9, one) for symbol, usd_1e9 in prices.items()]


def _grouped(rows: Iterable[tuple[str, int, Spent]]) -> list[dict[str, Any]]:
    """Return name, requests and amount of each group, the dearest first."""
    totals: dict[str, tuple[int, int]] = {}
    for name, usd_1e9, _ in rows:
        count, total = totals.get(name, (0, 0))
        totals[name] = (count + 1, total + usd_1e9)
    ordered = sorted(totals.items(), key=lambda row: (-row[1][1], row[0]))
    return [{"name": n, "requests": count, "usd": _usd(total)} for n, (count, total) in ordered]


def _open_row(one: Spent) -> dict[str, Any]:
    reserved = dt.datetime.fromtimestamp(one.reserved_ns // 1_000_000_000, tz=dt.UTC)
    return {
        "id": one.id,
        "reserved": reserved.isoformat(),
        "request": str(one.request),
        "usd": _usd(one.price.usd_1e9),
    }


def _saving_row(one: Saving) -> dict[str, Any]:
    usd = None if one.usd_1e9 is None else _usd(one.usd_1e9)
    return {"what": one.what, "usd": usd, "is_exact": one.is_exact, "way_out": one.way_out}


def _stored_dates(store: Path) -> frozenset[dt.date] | None:
    """Return the trade dates in the baseline store; None if there is none, or it can't be read."""
    from ifd_fast.baseline_store import open_store

    if not store.is_file():
        return None
    try:
        with open_store(store, wait_s=_STORE_WAIT_S) as connection:
            rows = connection.execute("SELECT trade_date FROM coverage").fetchall()
    except IfdError:
        return None  # what could be saved must not fail what was spent
    return frozenset(row[0] for row in rows)


def _usd(usd_1e9: int) -> float:
    return usd_1e9 / 1e9
