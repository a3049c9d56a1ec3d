"""What a month or a quarter of a run found, in figures, and which thresholds are worth a trial.

Proposals name an experiment (`ifd sweep`), never a verdict; no profile is changed.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from ifd_fast.errors import UsageError
from ifd_fast.evaluation_page import POLICY, STYLE
from ifd_fast.plots import draw_bars
from ifd_fast.run_differences import GATES

if TYPE_CHECKING:
    from ifd_fast.runs import Run

__all__ = ["parse_period", "render_review", "review_run"]

STRONG: Final = 0.8
_BREAKDOWNS: Final = {
    "class": pl.col("signal_strength"),
    "side": pl.col("dominant_side"),
    "type": pl.col("option_type"),
    "hour": pl.col("timestamp").dt.convert_time_zone("America/Chicago").dt.strftime("%H"),
    "confidence": (pl.col("final_confidence") * 20).floor().clip(0, 19).truediv(20).round(2),
}


def parse_period(text: str | None) -> tuple[str, str]:
    """Return the first and last month of `2025-06` or `2025-Q2`, as texts; None: all.

    Raises
    ------
    UsageError
        `text` is neither.
    """
    if text is None:
        return "0000-00", "9999-99"
    if re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
        return text, text
    if re.fullmatch(r"\d{4}-Q[1-4]", text):
        last = 3 * int(text[-1])
        return f"{text[:4]}-{last - 2:02d}", f"{text[:4]}-{last:02d}"
    raise UsageError(f"`{text}` is no period: write a month as 2025-06, a quarter as 2025-Q2.")


def review_run(run: Run, period: str | None = None) -> dict[str, Any]:
    """Return the figures and proposals of a run's sessions within a period, ready for JSON.

    Raises
    ------
    UsageError
        The period is none, or the run has no session in it.
    DataError
        A file of the run is missing.
    """
    first, last = parse_period(period)
    days = [day for day in run.sessions if first <= day[:7] <= last]
    if not days:
        raise UsageError(f"{run.path}: has no session in {period or 'it'}.")
    is_within = pl.col("trade_date").cast(pl.String).is_in(days)
    signals = run.frame("signals").filter(is_within, pl.col("candidate")).collect()
    alerts = signals.filter("alert")
    rankings = [run.sessions[day].get("ranking") or {} for day in days]
    rankings += [run.document.get("ranking", {}).get(day) or {} for day in days]
    gates = _count_gates(signals)
    return {
        "run": str(run.path),
        "period": [days[0], days[-1]],
        "sessions": len(days),
        "candidates": signals.height,
        "alerts": alerts.height,
        "alert_episodes": alerts["signal_id"].n_unique(),
        "promised_false_alerts": sum(
            float(one["promised_false_alerts"]) for one in rankings if one.get("ready")
        ),
        "gates": gates,
        "by": {name: _count_by(signals, what) for name, what in _BREAKDOWNS.items()},
        "proposals": _propose(gates),
    }


def _count_by(signals: pl.DataFrame, what: pl.Expr) -> list[dict[str, Any]]:
    counted = signals.group_by(what.cast(pl.String).alias("name")).agg(
        pl.len().alias("candidates"), pl.col("alert").sum().alias("alerts")
    )
    return counted.sort("name").to_dicts()


def _count_gates(signals: pl.DataFrame) -> list[dict[str, Any]]:
    """Return of each gate how many candidates it stopped, how many of them alone, and strong."""
    found = []
    failed = pl.col("failed_gates")
    for bit, name in GATES.items():
        alone = signals.filter(failed == bit)
        stopped = signals.filter((failed & bit) != 0).height
        found.append(
            {
                "gate": name,
                "stopped": stopped,
                "share": stopped / signals.height if signals.height else 0.0,
                "alone": alone.height,
                "strong_alone": alone.filter(pl.col("final_confidence") >= STRONG).height,
            }
        )
    return found


def _propose(gates: list[dict[str, Any]]) -> list[str]:
    return [
        f"{one['gate']}: {one['strong_alone']} candidates with confidence >= {STRONG} were "
        "stopped by this gate alone; try others with `ifd sweep` before you change it."
        for one in gates
        if one["strong_alone"] > 0
    ]


def render_review(found: dict[str, Any]) -> str:
    """Return figures as one self-contained page: no script, no address, escaped texts."""
    names = ("gate", "stopped", "share", "alone", "strong_alone")
    plots = [
        draw_bars(
            f"Candidates by {name}",
            [(str(row["name"]), float(row["candidates"])) for row in rows],
            (name, "candidates"),
        )
        for name, rows in found["by"].items()
        if rows
    ]
    head = (
        f"{found['run']}: {found['sessions']} sessions, {' to '.join(found['period'])}; "
        f"{found['candidates']} candidates, {found['alert_episodes']} episodes that alerted, "
        f"{found['promised_false_alerts']:.2f} false ones promised."
    )
    proposals = "".join(f"<li>{html.escape(text)}</li>" for text in found["proposals"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>ifd_fast: review</title><style>{STYLE}</style></head><body>"
        f"<h1>Review</h1><p>{html.escape(head)}</p><h2>Proposals</h2>"
        f"<ul>{proposals or '<li>none</li>'}</ul><h2>Gates</h2><table><tr>"
        + "".join(f"<th>{name.replace('_', ' ')}</th>" for name in names)
        + "</tr>"
        + "".join(
            "<tr>"
            + "".join(
                f"<td>{row[name]:.0%}</td>" if name == "share" else f"<td>{row[name]}</td>"
                for name in names
            )
            + "</tr>"
            for row in found["gates"]
        )
        + f'</table><h2>Candidates</h2><div class="plots">{"".join(plots)}</div></body></html>\n'
    )
