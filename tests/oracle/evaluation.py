"""What the evaluation counts, in plain Python, from its rules.

Rows of flow are (option, instant_ns, second, bid, ask) in order of (option, instant, second).
"""

from __future__ import annotations

import math

SECOND_NS = 10**9


def rolling(rows: list[tuple[int, int, int, int, int]], window_s: float, column: int) -> list[int]:
    """Return at each row the sum of a column over its option's rows in (t - window_s, t]."""
    found = []
    for option, now, *_ in rows:
        start = now - round(window_s * SECOND_NS)
        mine = (row for row in rows if row[0] == option and start < row[1] <= now)
        found.append(sum(row[column] for row in mine))
    return found


def votes(
    rows: list[tuple[int, int, int, int, int]], cap: int, slot_s: int, twins: list[int]
) -> list[tuple[int, int]]:
    """Return each row's new votes, bid and ask: contracts, at most `cap` a clock slot and side.

    None for a side on which the other leg has contracts in the same second.
    """
    held: dict[tuple[int, int, int], int] = {}
    found = []
    for option, _, second, *sides in rows:
        mine = []
        for side in range(2):
            key = (option, second // slot_s, side)
            before = min(held.get(key, 0), cap)
            held[key] = held.get(key, 0) + sides[side]
            paired = any(
                row[0] == twins[option] and row[2] == second and row[3 + side] > 0 for row in rows
            )
            fresh = min(held[key], cap) - before
            # a row without contracts of its own has none to drop
            mine.append(0 if paired and sides[side] > 0 else fresh)
        found.append((mine[0], mine[1]))
    return found


def episodes(rows: list[tuple[int, int, int, float]], threshold: float) -> list[int]:
    """Return the places of rows (option, side, instant_ns, score) at which episodes begin."""
    above = [place for place, row in enumerate(rows) if row[3] >= threshold]
    above.sort(key=lambda place: rows[place][:3])
    found = []
    for number, place in enumerate(above):
        before = rows[above[number - 1]] if number else None
        option, side, instant, _ = rows[place]
        same = before is not None and before[:2] == (option, side)
        if not same or before is None or instant - before[2] >= 300 * SECOND_NS:
            found.append(place)
    return found


def match(
    alerts: list[tuple[int, int, int, int]],
    labels: list[dict[str, int | None]],
    window_s: float,
) -> list[int | None]:
    """Return the label each alert (session, instrument, side, instant_ns) matches, None for none.

    Labels have label, session, instrument, side, start, end; of several the one that began first.
    """
    found: list[int | None] = []
    for session, instrument, side, instant in alerts:
        grace = round(window_s * SECOND_NS)
        hits = [
            one
            for one in labels
            if (one["session"], one["instrument"], one["side"]) == (session, instrument, side)
            and (one["start"] or 0) <= instant <= (one["end"] or 0) + grace
        ]
        hits.sort(key=lambda one: (one["start"] or 0, one["label"] or 0))
        found.append(hits[0]["label"] if hits else None)
    return found


def calibration(bins: list[list[tuple[float, bool]]]) -> float:
    """Return the debiased root mean square of forecast - outcome over bins of candidates."""
    counted = [one for one in bins if len(one) > 1]
    total = sum(len(one) for one in counted)
    square = 0.0
    for one in counted:
        forecast = sum(each for each, _ in one) / len(one)
        outcome = sum(came for _, came in one) / len(one)
        noise = outcome * (1 - outcome) / (len(one) - 1)
        square += len(one) / total * ((forecast - outcome) ** 2 - noise)
    return math.sqrt(max(square, 0.0))


def average_precision(ranked: list[tuple[float, int]], wanted: int) -> float:
    """Return the area under precision over recall of (score, unit or -1), by every threshold."""
    area, before = 0.0, 0.0
    for threshold in sorted({score for score, _ in ranked}, reverse=True):
        kept = [unit for score, unit in ranked if score >= threshold]
        true = len({unit for unit in kept if unit >= 0})
        false = sum(unit < 0 for unit in kept)
        recall = true / wanted
        area += (recall - before) * (true / max(true + false, 1))
        before = recall
    return area
