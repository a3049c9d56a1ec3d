"""The evaluation's document as tables: on the terminal, and in Markdown for BENCHMARKS.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ifd_fast.evaluation_numbers import AT_OUR_RATE
from ifd_fast.truth import TIERS

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "HISTORIES_TITLE",
    "PROMISED_TITLE",
    "Table",
    "column_names",
    "columns_table",
    "history_table",
    "number_table",
    "pooled_text",
    "print_document",
    "print_table",
    "recall_rows",
    "share",
    "suite_table",
]

MET: Final = {True: "yes", False: "no", None: "–"}
PROMISED_TITLE: Final = "Recall, and that of other rules at as many false alerts as are promised"
HISTORIES_TITLE: Final = "Each history by itself"
Table = tuple[list[str], list[list[str]]]


def share(value: float | None) -> str:
    """Return a share as per cent, a dash where it is unknown."""
    return "–" if value is None else f"{100.0 * value:.0f} %"


def number_table(document: dict[str, Any]) -> Table:
    """Return what was to be reached and what was: columns and rows of texts."""
    rows = [
        [row["what"], row["reach"], row["measured"], row["interval"], str(row["count"]),
         MET[row["met"]]]
        for row in document["numbers"]
    ]  # fmt: skip
    return ["what", "to reach", "measured", "95 % interval", "units", "met"], rows


def column_names(document: dict[str, Any]) -> list[str]:
    """Return the columns of the recall tables, ours first and the bounds last."""
    known = list(document["recall"][0]["columns"]) if document["recall"] else []
    first = [name for name in ("ifd_fast",) if name in known]
    known = [name for name in known if not name.endswith(AT_OUR_RATE)]
    last = [name for name in ("knows_rates", "clairvoyant") if name in known]
    return [*first, *(name for name in known if name not in first + last), *last]


def recall_rows(document: dict[str, Any], dimensions: tuple[str, ...] | None = None) -> Table:
    """Return recall by group and column; `dimensions` None: all of them."""
    names = column_names(document)
    rows = []
    for row in document["recall"]:
        if (dimensions is None or row["dimension"] in dimensions) and row["count"]:
            values = [share(row["columns"][name]["value"]) for name in names]
            rows.append([row["dimension"], row["value"], str(row["count"]), *values])
    return ["", "", "units", *names], rows


def columns_table(document: dict[str, Any]) -> Table:
    """Return every column's threshold, false alerts and recall over all units."""
    rows = []
    for row in document["columns"]:
        false = row["false_alerts"]
        rows.append(
            [
                row["name"],
                "–" if row["threshold"] is None else f"{row['threshold']:.3g}",
                "–" if false is None else f"{false:.2f}",
                share(row["recall"]),
            ]
        )
    return ["column", "threshold", "false alerts a null session", "recall, all"], rows


def history_table(document: dict[str, Any]) -> Table:
    """Return each history's false alerts and precision, what claims said and what came true."""
    claims = {row["seed"]: row for row in document["reliability"].get("histories", [])}
    rows = []
    for one in document["histories"]:
        false, said = one["false_alerts"], claims.get(one["seed"], {})
        error = said.get("error")
        rows.append(
            [
                str(one["seed"]), str(one["null_sessions"]),
                "–" if false is None else f"{false:.2f}", str(one["planted_sessions"]),
                share(one["precision"]), str(said.get("claims", "–")),
                share(said.get("forecast")), share(said.get("outcome")),
                "–" if error is None else f"{error:.3f}",
            ]
        )  # fmt: skip
    heads = (
        "history, seed", "null sessions", "false alerts each", "planted sessions", "precision",
        "claims", "claimed", "came true", "error",
    )  # fmt: skip
    return list(heads), rows


def suite_table(rows: list[dict[str, Any]]) -> Table:
    """Return one row a world or stress: false alerts, recall by tier at k = 10, grades."""
    found = []
    for row in rows:
        recall = [share(row["recall"].get(tier)) for tier in TIERS]
        found.append(
            [
                row["name"], str(row["sessions"]["null"]), f"{row['false_alerts']:.2f}",
                f"{row['interval'][0]:.2f}–{row['interval'][1]:.2f}", f"≤ {row['limit']:g}",
                share(row["power"]), *recall, row["grades"], MET[row["met"]],
            ]
        )  # fmt: skip
    return [
        "market", "null sessions", "false alerts each", "95 % interval", "to reach",
        "power at the promise", *TIERS, "grades", "met",
    ], found  # fmt: skip


def pooled_text(found: dict[str, Any]) -> str:
    """Return what all worlds say together, as a sentence."""
    low, high = found["interval"]
    return (
        f"{found['worlds']} worlds, {found['null_sessions']} null sessions: "
        f"{found['false_alerts']:.2f} false alerts each, {low:.2f}–{high:.2f} over worlds drawn "
        f"again; above {found['limit']:g} in {found['exceed']} of them, surely so in "
        f"{found['exceed_surely']}; met: {MET[found['met']]}."
    )


def print_document(document: dict[str, Any], console: Console | None = None) -> None:
    """Print the contract's rows, recall by tier and column, and the columns' false alerts."""
    from rich.console import Console as NewConsole

    console = console or NewConsole(width=max(NewConsole().width, 120))
    counts = document["sessions"]
    console.print(
        f"world {document['world']} ({document['world_digest'][:12]}), seed {document['seed']}, "
        f"profile {document['profile']}: {counts['planted']} sessions with 6 planted episodes and "
        f"20 hard negatives, {counts['power']} with 24 planted, {counts['null']} null"
    )
    tables: list[tuple[str, Table]] = [
        ("What was to be reached", number_table(document)),
        (PROMISED_TITLE, recall_rows(document, ("all", "tier at k = 10", "k"))),
        ("Columns", columns_table(document)),
    ]
    if "histories" in document:
        tables.append((HISTORIES_TITLE, history_table(document)))
    suites = [name for name in ("worlds", "stress") if name in document]
    tables += [(name.capitalize(), suite_table(document[name])) for name in suites]
    for title, table in tables:
        print_table(console, title, table)
    if "pooled" in document:
        console.print(pooled_text(document["pooled"]))
    if document.get("unfinished"):
        console.print(f"Unfinished: {', '.join(document['unfinished'])}.")


def print_table(console: Console, title: str, table: Table) -> None:
    """Print one table."""
    from rich.table import Table as RichTable

    drawn = RichTable(title=title, title_justify="left")
    for number, name in enumerate(table[0]):
        drawn.add_column(name, justify="left" if number == 0 else "right", no_wrap=False)
    for row in table[1]:
        drawn.add_row(*row)
    console.print(drawn)
