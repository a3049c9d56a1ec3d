"""`ifd cost`: what Databento was paid this month, what it will be, and what could be saved."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from ifd_fast.commands.startup import start
from ifd_fast.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from ifd_fast.config import Settings

__all__ = ["cost"]


@click.command()
@click.option("--month", metavar="YYYY-MM", help="Month, UTC. Default: this one.")
@click.option("--profile", metavar="NAME|PATH", help="Packaged profile or file.")
@click.option("--settle", metavar="ID=USD", help="Close an open reservation with what it cost.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cost(*, month: str | None, profile: str | None, settle: str | None, as_json: bool) -> None:
    """Show the month's spending: day, month, forecast, by schema and parent, possible savings.

    A request is reserved at its price before it is sent. What a crash left open counts as spent
    until it is settled: `--settle 7=0` if nothing of number 7 was sent, `--settle 7=1.25` else.
    """
    from ifd_fast.spending import check_month, month_of
    from ifd_fast.spending_report import describe_spending

    settings = start(profile)
    now_ns = time.time_ns()
    if settle is not None:
        _settle(settings, settle, now_ns)
    chosen = month_of(now_ns) if month is None else check_month(month)
    document = describe_spending(settings.profile, chosen, now_ns)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        _print(document)


def _settle(settings: Settings, text: str, now_ns: int) -> None:
    import math

    from ifd_fast.budget import ledger_of

    number, _, usd = text.partition("=")
    try:
        paid = float(usd)
    except ValueError:
        paid = math.nan
    if not number.isdecimal() or len(number) > 15 or not 0 <= paid <= 1e6:
        raise UsageError(f"--settle must be ID=USD as in 7=1.25, was {text!r}.")
    ledger_of(settings.profile).settle(int(number), now_ns, round(paid * 1e9))


def _print(document: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=120, highlight=False)
    rows = [("spent this month", document["month_usd"])]
    if document["day"] is not None:
        rows.insert(0, (f"spent on {document['day']}", document["day_usd"]))
    rows += [
        ("forecast to the month's end", document["forecast_usd"]),
        ("expected of a month", document["expected_usd"]),
        ("limit", document["limit_usd"]),
        ("of it kept for other needs", document["kept_usd"]),
        ("left", document["left_usd"]),
    ]
    _print_table(console, f"{document['month']}, UTC", ("", "USD"), rows)
    for text in document["warnings"]:
        console.print(f"warning: {text}")
    for title, name in (("By schema", "by_schema"), ("By parent", "by_parent")):
        groups = [(row["name"], row["requests"], row["usd"]) for row in document[name]]
        _print_table(console, title, ("", "requests", "USD"), groups)
    opened = [(row["id"], row["reserved"], row["request"], row["usd"]) for row in document["open"]]
    title = "Open: under way, or left by a crash; counted as spent"
    _print_table(console, title, ("id", "reserved", "request", "USD"), opened)
    saved = [(row["what"], _about(row), row["way_out"]) for row in document["savings"]]
    _print_table(console, "What could be saved", ("", "USD", "how"), saved)


def _about(row: dict[str, Any]) -> str:
    if row["usd"] is None:
        return "not priced alone"
    return f"{'' if row['is_exact'] else 'about '}{row['usd']:,.2f}"


def _print_table(
    console: Console, title: str, names: tuple[str, ...], rows: list[tuple[Any, ...]]
) -> None:
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for name in names:
        table.add_column(name, justify="right" if name in {"USD", "requests", "id"} else "left")
    for row in rows:
        texts = [f"{value:,.2f}" if isinstance(value, float) else str(value) for value in row]
        table.add_row(*map(Text, texts))
    console.print(table)
