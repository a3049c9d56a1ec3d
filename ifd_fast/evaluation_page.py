"""The evaluation as one self-contained HTML page: no script, no address, escaped texts."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any, Final

from ifd_fast.evaluation_tables import (
    HISTORIES_TITLE,
    PROMISED_TITLE,
    Table,
    columns_table,
    history_table,
    number_table,
    pooled_text,
    recall_rows,
    suite_table,
)
from ifd_fast.plots import Series, draw_bars, draw_lines, percent, plain
from ifd_fast.truth import TIERS

__all__ = ["render_page", "write_page"]

OURS: Final = "ifd_fast"
K_TICKS: Final = (2.0, 5.0, 10.0, 25.0, 50.0)
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #66707c; --line: #d5dae0;
  --paper: #ffffff; --c0: #0b6bcb; --c1: #c2410c; --c2: #15803d; --c3: #7c3aed; --c4: #a16207;
  --c5: #be185d; --c6: #0f766e; --c7: #64748b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa4b0; --line: #39414b;
  --paper: #14181d; --c0: #6cb2ff; --c1: #fb923c; --c2: #4ade80; --c3: #c4b5fd; --c4: #facc15;
  --c5: #f472b6; --c6: #2dd4bf; --c7: #94a3b8; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block;
  overflow-x: auto; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 600; }
td.no { color: var(--c1); font-weight: 600; } td.yes { color: var(--c2); font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-weight: 600; margin-bottom: .3rem; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--line); } .ideal { stroke: var(--soft); stroke-dasharray: 4 4; }
polyline { fill: none; stroke-width: 2; } .span { stroke-width: 1.2; opacity: .6; }
""" + "".join(
    f"line.c{n}, polyline.c{n} {{ stroke: var(--c{n}); }} "
    f"circle.c{n}, rect.c{n} {{ fill: var(--c{n}); }}\n"
    for n in range(8)
)


def write_page(document: dict[str, Any], out: Path) -> Path:
    """Write `evaluation.html` into `out`; return its path."""
    path = out / "evaluation.html"
    path.write_text(render_page(document), encoding="utf-8")
    return path


def render_page(document: dict[str, Any]) -> str:
    """Return the whole page."""
    sections = [
        _section("What was to be reached", _table(number_table(document))),
        _section("Pictures", f'<div class="plots">{"".join(_plots(document))}</div>'),
        _section(PROMISED_TITLE, _table(recall_rows(document))),
        _section("Every column", _table(columns_table(document))),
        _section("What false alerts were", _table(_causes(document))),
    ]
    if "histories" in document:
        sections.append(_section(HISTORIES_TITLE, _table(history_table(document))))
    for name, title in (("worlds", "Worlds drawn at random"), ("stress", "Stress")):
        if name in document:
            sections.append(_section(title, _table(suite_table(document[name]))))
    if "pooled" in document:
        sections.append(f"<p>{html.escape(pooled_text(document['pooled']))}</p>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>ifd_fast: evaluation</title><style>{STYLE}</style></head><body>"
        f"<h1>Signals against planted truth</h1>{_head(document)}{''.join(sections)}"
        "</body></html>\n"
    )


def _section(title: str, inside: str) -> str:
    return f"<h2>{html.escape(title)}</h2>{inside}"


def _head(document: dict[str, Any]) -> str:
    counts = document["sessions"]
    text = (
        f"World {document['world']}, digest {document['world_digest'][:16]}, seed "
        f"{document['seed']}; profile {document['profile']}, settings "
        f"{document['config_digest'][:16]}, code {document['code_digest'][:24]}; "
        f"{document['date']}. {counts['planted']} sessions with 6 planted episodes and 20 hard "
        f"negatives, {counts['power']} with 24 planted, {counts['null']} null ones. Simulated "
        "trades: how real they are is unverified."
    )
    command = document.get("command")
    made = f"<p>Made by <code>{html.escape(command)}</code>.</p>" if command else ""
    left = ", ".join(document.get("unfinished", []))
    cut = f"<p>Unfinished: {html.escape(left)}.</p>" if left else ""
    return f"<p>{html.escape(text)}</p>{made}{cut}"


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table[0])
    rows = []
    for row in table[1]:
        cells = [
            f'<td class="{cell}">{cell}</td>' if cell in ("yes", "no")
            else f"<td>{html.escape(cell)}</td>"
            for cell in row
        ]  # fmt: skip
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _causes(document: dict[str, Any]) -> Table:
    causes = document["precision"]["causes"]
    return ["ran at that time", "alerts"], [[name, str(count)] for name, count in causes.items()]


def _plots(document: dict[str, Any]) -> list[str]:
    found = [_power(document), _columns_power(document), _children(document)]
    found += [_reliability(document), _precision_recall(document), _histogram(document)]
    return found


def _line(document: dict[str, Any], dimension: str, column: str, name: str) -> Series:
    points, spans = [], []
    for row in document["recall"]:
        value = row["columns"].get(column, {}).get("value")
        if row["dimension"] == dimension and value is not None:
            points.append((float(row["value"]), value))
            spans.append((row["columns"][column]["low"], row["columns"][column]["high"]))
    return Series(name, points, spans)


def _power(document: dict[str, Any]) -> str:
    series = [_line(document, f"k, {tier}", OURS, tier) for tier in TIERS]
    return draw_lines(
        "Recall by intensity and tier", series, ("k", "recall"), x_range=(1.8, 56.0), log_x=True,
        ticks_x=K_TICKS,
    )  # fmt: skip


def _columns_power(document: dict[str, Any]) -> str:
    names = (OURS, "clairvoyant", "knows_rates", "net_root", "zscore", "mad", "original")
    series = [_line(document, "k", name, name.replace("_", " ")) for name in names]
    return draw_lines(
        "Recall by intensity, others at the promise", series, ("k", "recall"),
        x_range=(1.8, 56.0), log_x=True, ticks_x=K_TICKS,
    )  # fmt: skip


def _children(document: dict[str, Any]) -> str:
    middles = {"0–7": 4.0, "8–19": 13.0, "20–39": 28.0, "40–79": 56.0, "80+": 120.0}
    series = []
    for tier in TIERS:
        points, spans = [], []
        for row in document["recall"]:
            found = row["columns"].get(OURS, {})
            if row["dimension"] == f"children, {tier}" and found.get("value") is not None:
                points.append((middles[row["value"]], found["value"]))
                spans.append((found["low"], found["high"]))
        series.append(Series(tier, points, spans))
    return draw_lines(
        "Recall by number of children", series, ("children", "recall"), x_range=(3.0, 150.0),
        log_x=True, ticks_x=(4.0, 13.0, 28.0, 56.0, 120.0),
    )  # fmt: skip


def _reliability(document: dict[str, Any]) -> str:
    bins = document["reliability"]["bins"]
    points = [(one["forecast"], one["outcome"]) for one in bins]
    return draw_lines(
        "What came true of each confidence", [Series("candidates, bins of equal mass", points)],
        ("final confidence", "came true"), x_range=(0.4, 1.0), diagonal=True, show_x=percent,
    )  # fmt: skip


def _precision_recall(document: dict[str, Any]) -> str:
    curve = document["reliability"]["curve"]
    points = [(one["recall"], one["precision"]) for one in curve]
    area = document["reliability"]["area"]
    return draw_lines(
        f"Precision over recall, area {area:.2f}", [Series("candidates", points, marks=False)],
        ("recall", "precision"), x_range=(0.0, 1.0), show_x=percent,
    )  # fmt: skip


def _histogram(document: dict[str, Any]) -> str:
    counts = document["false_alerts"]["by_session"]
    most = max([*counts, 5])
    bars = [(str(number), float(counts.count(number))) for number in range(most + 1)]
    return draw_bars(
        "False alerts by null session", bars, ("alerts in a session", "sessions"), show=plain
    )
