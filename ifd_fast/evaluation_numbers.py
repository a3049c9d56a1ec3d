"""The contract's table: what to reach, what was measured, with its interval, and whether it is met.

Also the run's check of itself: the clairvoyant's recall is at least any other column's on every
row that has enough units, or the run fails.
"""

from __future__ import annotations

from typing import Any, Final

from ifd_fast.truth import TIERS

__all__ = ["AT_OUR_RATE", "BOUND", "check_clairvoyant", "number_rows"]

BOUND: Final = "clairvoyant"
OURS: Final = "ifd_fast"
# Ends the name of a column whose threshold gives no more false alerts than ours gave; a column
# without it has as many as are promised.
AT_OUR_RATE: Final = ", at our false alerts"
MIN_UNITS: Final = 20  # rows of fewer are shown, not judged
RECALL: Final = {"thin": 0.25, "low": 0.50, "mid": 0.70, "busy": 0.85}
COMPARED: Final = ("original", "zscore", "mad", "net_root")
WITHIN: Final = 0.05  # of the rule that knows the rates

Row = dict[str, Any]


def check_clairvoyant(recall: list[Row]) -> list[str]:
    """Return one sentence for each row and column whose recall is above the clairvoyant's."""
    faults = []
    for row in recall:
        bound = row["columns"].get(BOUND, {}).get("value")
        if bound is None or row["count"] < MIN_UNITS:
            continue
        for name, found in row["columns"].items():
            if name != BOUND and found["value"] is not None and found["value"] > bound:
                faults.append(
                    f"{row['dimension']} = {row['value']}: {name} finds {found['value']:.1%} of "
                    f"{row['count']}, the clairvoyant {bound:.1%}."
                )
    return faults


def number_rows(document: Row) -> list[Row]:
    """Return the table's rows: what, reach, measured, interval, units, met (None: not measured)."""
    rows = [_false_alerts(document["false_alerts"])]
    rows += [_tier(document["recall"], name) for name in TIERS]
    rows += [_children(row) for row in document["recall"] if row["dimension"] == "enough children"]
    rows += [_against_rates(document["recall"], name) for name in TIERS]
    rows.append(_mirrored(document.get("mirrors")))
    rows.append(_precision(document["precision"]))
    rows.append(_calibration(document["reliability"]))
    rows += [_rival(document["recall"], name) for name in COMPARED]
    rows.append(_delay(document["delay"], document["scoring_interval_s"]))
    return rows


def _row(what: str, reach: str, measured: str, interval: str, count: int, met: object) -> Row:
    return {
        "what": what, "reach": reach, "measured": measured, "interval": interval,
        "count": count, "met": met,
    }  # fmt: skip


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100.0 * value:.0f} %"


def _span(estimate: Row) -> str:
    if estimate.get("low") is None:
        return ""
    return f"{100.0 * estimate['low']:.0f}–{100.0 * estimate['high']:.0f} %"


def _find(recall: list[Row], dimension: str, value: str) -> Row:
    for row in recall:
        if row["dimension"] == dimension and row["value"] == value:
            return row
    return {"count": 0, "columns": {}}


def _column(row: Row, name: str) -> Row:
    found: Row = row["columns"].get(name, {"value": None, "low": None, "high": None})
    return found


def _false_alerts(found: Row) -> Row:
    value, high = found["realised"]["value"], found["exact"]["high"]
    measured = "–" if value is None else f"{value:.2f}"
    interval = f"{found['exact']['low']:.2f}–{high:.2f}"
    return _row(
        f"false alerts a null session, {found['promised']:g} promised",
        f"95 % upper bound ≤ {1.5 * found['promised']:g}", measured, interval,
        found["sessions"], None if value is None else high <= 1.5 * found["promised"],
    )  # fmt: skip


def _judged(value: float | None, least: float) -> bool | None:
    return None if value is None else value >= least


def _tier(recall: list[Row], name: str) -> Row:
    row = _find(recall, "tier at k = 10", name)
    found = _column(row, OURS)
    return _row(
        f"recall at k = 10, {name}", f"≥ {_percent(RECALL[name])}", _percent(found["value"]),
        _span(found), row["count"], _judged(found["value"], RECALL[name]),
    )  # fmt: skip


def _children(row: Row) -> Row:
    found = _column(row, OURS)
    return _row(
        f"recall with children, {row['value']}", "≥ 95 %", _percent(found["value"]), _span(found),
        row["count"], _judged(found["value"], 0.95),
    )  # fmt: skip


def _against_rates(recall: list[Row], name: str) -> Row:
    row = _find(recall, "tier at k = 10", name)
    ours, known = _column(row, OURS)["value"], _column(row, "knows_rates")["value"]
    bound = _column(row, BOUND)["value"]
    same = _column(row, "knows_rates" + AT_OUR_RATE)["value"]
    met = None if ours is None or known is None else ours >= known - WITHIN
    return _row(
        f"against knowing all rates, {name} (clairvoyant)", "within 5 points",
        f"{_percent(ours)} against {_percent(known)} ({_percent(bound)}); {_percent(same)} at our "
        "false alerts", "", row["count"], met,
    )  # fmt: skip


def _mirrored(found: Row | None) -> Row:
    if found is None:
        return _row("buys / sells, calls / puts", "exactly equal on mirrored seeds", "–", "", 0,
                    None)  # fmt: skip
    return _row(
        "buys / sells, calls / puts", "exactly equal on mirrored seeds",
        f"{found['differing']} of {found['alerts']} alerts differ", "", found["sessions"],
        found["alerts"] > 0 and found["differing"] == 0,
    )  # fmt: skip


def _precision(found: Row) -> Row:
    return _row(
        "precision, 6 planted and 20 hard negatives a session", "≥ 85 %",
        _percent(found["value"]), _span(found), found["units"], _judged(found["value"], 0.85),
    )  # fmt: skip


def _calibration(found: Row) -> Row:
    error, interval = found["error"], found["interval"]
    all_occur = all(one["count"] > 0 for one in found["classes"])
    return _row(
        "calibration error of final_confidence", "≤ 0.04, every class occurs",
        "–" if error is None else f"{error:.3f}" + ("" if all_occur else ", a class is missing"),
        "" if interval is None else f"{interval[0]:.3f}–{interval[1]:.3f}",
        found["candidates"], None if error is None else error <= 0.04 and all_occur,
    )  # fmt: skip


def _rival(recall: list[Row], name: str) -> Row:
    row = _find(recall, "k", "10")
    ours, theirs = _column(row, OURS)["value"], _column(row, name + AT_OUR_RATE)["value"]
    met = None
    if ours is not None and theirs is not None:
        met = ours >= 2.0 * theirs or 1.0 - ours <= (1.0 - theirs) / 2.0
    return _row(
        f"at equal false alerts, k = 10, against {name}", "recall ≥ 2 × or misses ≤ half",
        f"{_percent(ours)} against {_percent(theirs)}", "", row["count"], met,
    )  # fmt: skip


def _delay(found: Row, interval_s: float) -> Row:
    late = found.get("after_finer_s")
    if not late or not late["count"]:
        return _row("delay after the evidence crosses", f"≤ {interval_s:g} s", "–", "", 0, None)
    return _row(
        "delay after the evidence crosses, 99 % of alerts", f"≤ {interval_s:g} s",
        f"{late['p99']:.2f} s", f"median {late['p50']:.2f} s, {_percent(late['within'])} within",
        late["count"], late["p99"] <= interval_s,
    )  # fmt: skip
