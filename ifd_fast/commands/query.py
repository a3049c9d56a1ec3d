"""`ifd query`: SQL over what a run found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ifd_fast.commands.startup import start
from ifd_fast.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["query"]


@click.command()
@click.argument("sql")
@click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path),
    default=".",
    show_default="this folder",
    help="Folder of a run.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write into a file.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=1000, show_default=True, help="Rows; 0: all."
)
def query(sql: str, folder: Path, form: str, out: Path | None, limit: int) -> None:
    """Ask a run of `ifd replay --out` or `ifd rescore` by one SELECT.

    Views: windows, facts, signals, instruments, handovers, sessions. Nothing can be changed, and
    no other file read.
    """
    from ifd_fast.querying import query_run
    from ifd_fast.runs import open_run

    start()
    if form == "parquet" and out is None:
        raise UsageError("`--format parquet` is not for a terminal: name a file with --out.")
    found, is_cut = query_run(open_run(folder), sql, limit or None)
    if form == "parquet" and out is not None:
        found.write_parquet(out)
    elif out is not None:
        out.write_text(_render(found, form), encoding="utf-8")
    else:
        click.echo(_render(found, form), nl=False)
    if is_cut:
        click.echo(f"cut at {limit:,} rows; --limit 0 gives all", err=True)


def _render(found: pl.DataFrame, form: str) -> str:
    """Return rows as CSV, JSON or a table."""
    from ifd_fast.querying import escape_formulas

    if form == "csv":
        return escape_formulas(found).write_csv()
    if form == "json":
        return found.write_json() + "\n"
    return _draw(found)


def _draw(found: pl.DataFrame) -> str:
    """Return a table as wide as its texts: a terminal wraps it, a file keeps it."""
    rows = [found.columns, *([_text(value) for value in row] for row in found.iter_rows())]
    widths = [max(len(row[at]) for row in rows) for at in range(found.width)]
    rows.insert(1, ["-" * width for width in widths])
    padded = ([text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in rows)
    return "".join("  ".join(row).rstrip() + "\n" for row in padded)


def _text(value: object) -> str:
    """Return a cell's text; what would move a terminal's cursor is left out."""
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return "".join(sign for sign in text if sign.isprintable())
