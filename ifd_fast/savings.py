"""What was bought and nobody uses: schemas, parents, hours bought twice, sessions in no history.

Amounts are exact where a whole request was in vain, else about: Databento prices a request, not
its hours, so a part of one costs what its share of the time says, or of the symbols where these
were not priced alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ifd_fast.calendar import Session, Sessions
from ifd_fast.spending import Spent
from ifd_fast.universe import Universe

__all__ = ["READ_SCHEMAS", "Saving", "find_savings", "symbol_prices_1e9"]

# Of all schemas a replay reads the first three, a live session the fourth as well.
READ_SCHEMAS: Final = ("mbo", "definition", "status", "statistics")


class Saving(NamedTuple):
    """Something that need not be bought again; `usd_1e9` None where its price isn't known."""

    what: str
    usd_1e9: int | None
    is_exact: bool
    way_out: str


def find_savings(
    spent: Sequence[Spent],
    universe: Universe,
    sessions: Sessions,
    stored: frozenset[dt.date] | None = None,
) -> list[Saving]:
    """Return what the requests of `spent` could have done without, the dearest first.

    Parameters
    ----------
    spent
        Requests in the order they were made.
    universe
        Whose parents are used.
    sessions
        The calendar.
    stored
        Trade dates that the baseline store holds; None where there is no store.
    """
    found = [
        *_unread_schemas(spent),
        *_other_parents(spent, universe),
        *_bought_twice(spent),
        *_in_no_history(spent, sessions, stored),
    ]
    return sorted(found, key=lambda one: (-(one.usd_1e9 or 0), one.what))


def symbol_prices_1e9(one: Spent) -> dict[str, int] | None:
    """Return what each symbol of a request cost, None where that was not asked for.

    Prices of symbols alone are scaled to the price of the whole, which is what was billed.
    """
    request, found = one.request, one.price
    if len(request.symbols) == 1:
        return {request.symbols[0]: found.usd_1e9}
    alone = dict(found.by_symbol_1e9)
    total = sum(alone.values())
    if set(alone) != set(request.symbols) or total == 0:
        return None
    return {symbol: found.usd_1e9 * own // total for symbol, own in alone.items()}


def _unread_schemas(spent: Sequence[Spent]) -> Iterable[Saving]:
    totals: dict[str, int] = {}
    for one in spent:
        if one.request.schema not in READ_SCHEMAS:
            schema = one.request.schema
            totals[schema] = totals.get(schema, 0) + one.price.usd_1e9
    for schema, usd_1e9 in totals.items():
        way_out = f"Nothing here reads it: MBO ({', '.join(READ_SCHEMAS)}) says all of it."
        yield Saving(f"schema {schema}", usd_1e9, True, way_out)


def _other_parents(spent: Sequence[Spent], universe: Universe) -> Iterable[Saving]:
    totals: dict[str, int | None] = {}
    for one in spent:
        if one.request.schema not in READ_SCHEMAS or one.request.stype_in != "parent":
            continue
        prices = symbol_prices_1e9(one)
        for symbol in one.request.symbols:
            if one.request.dataset == universe.dataset and symbol in universe.parents:
                continue
            before = totals.get(symbol, 0)
            if prices is None or before is None:
                totals[symbol] = None
            else:
                totals[symbol] = before + prices[symbol]
    for symbol, usd_1e9 in totals.items():
        way_out = f"It is not in the universe of {universe.root}: leave it out, or configure it."
        yield Saving(f"parent {symbol}", usd_1e9, usd_1e9 is not None, way_out)


def _bought_twice(spent: Sequence[Spent]) -> Iterable[Saving]:
    held: dict[tuple[str, str, str, str], list[tuple[int, int]]] = {}
    totals: dict[str, float] = {}
    for one in spent:
        request = one.request
        prices = symbol_prices_1e9(one)
        equal = one.price.usd_1e9 / len(request.symbols)
        for symbol in request.symbols:
            spans = held.setdefault((request.dataset, request.schema, request.stype_in, symbol), [])
            share = _covered_ns(spans, request.start_ns, request.end_ns)
            share_of_time = share / (request.end_ns - request.start_ns)
            if share:
                usd_1e9 = prices[symbol] if prices else equal
                totals[request.schema] = totals.get(request.schema, 0.0) + usd_1e9 * share_of_time
            spans.append((request.start_ns, request.end_ns))
    for schema, usd_1e9 in totals.items():
        way_out = "Keep the files; ask for what is missing only."
        yield Saving(f"hours of {schema} bought twice", round(usd_1e9), False, way_out)


def _covered_ns(spans: list[tuple[int, int]], start_ns: int, end_ns: int) -> int:
    """Return how much of [start_ns, end_ns) lies in the union of `spans`."""
    covered, reached = 0, start_ns
    for low, high in sorted(spans):
        first, last = max(low, reached), min(high, end_ns)
        if first < last:
            covered, reached = covered + last - first, last
    return covered


def _in_no_history(
    spent: Sequence[Spent], sessions: Sessions, stored: frozenset[dt.date] | None
) -> Iterable[Saving]:
    if stored is None:
        return
    dates: set[dt.date] = set()
    total = 0.0
    for one in spent:
        if one.request.schema != "mbo" or one.request.kind != "historical":
            continue
        whole = [
            session
            for session in sessions.sessions_between(one.request.start_ns, one.request.end_ns)
            if one.request.start_ns <= session.open_ns and session.close_ns <= one.request.end_ns
        ]
        unused = [session for session in whole if session.trade_date not in stored]
        if unused:
            dates.update(session.trade_date for session in unused)
            total += one.price.usd_1e9 * _length_ns(unused) / _length_ns(whole)
    if dates:
        noun = "session" if len(dates) == 1 else "sessions"
        what = f"{len(dates)} {noun} of mbo that no baseline holds, {min(dates)} to {max(dates)}"
        way_out = "Add them with `ifd baseline build`, or don't buy their like."
        yield Saving(what, round(total), False, way_out)


def _length_ns(sessions: list[Session]) -> int:
    return sum(one.close_ns - one.open_ns for one in sessions)
