"""`ifd diff`: what two runs found differently, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ifd_fast.commands.startup import start

if TYPE_CHECKING:
    from ifd_fast.run_differences import Differences

__all__ = ["diff"]


@click.command()
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--all", "show_all", is_flag=True, help="Show every episode that differs, not 20.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Parquet file of all episodes."
)
@click.option("--exit-code", is_flag=True, help="End with 1 if the runs differ.")
def diff(
    run_a: Path,
    run_b: Path,
    *,
    as_json: bool,
    show_all: bool,
    out: Path | None,
    exit_code: bool,
) -> None:
    """Hold RUN_B against RUN_A: folders of `ifd replay --out` or `ifd rescore`.

    Episodes are gained or lost as alerts or as candidates, changed, or the same; each with what
    stopped it where it is missing, and with what differs of settings, code, windows and baselines.
    """
    from ifd_fast.run_differences import compare_runs
    from ifd_fast.runs import open_run

    start()
    found = compare_runs(open_run(run_a), open_run(run_b))
    if out is not None:
        found.episodes.write_parquet(out)
    if as_json:
        click.echo(_to_json(found))
    else:
        _show(found, limit=None if show_all else 20)
    if exit_code and not found.is_equal:
        click.get_current_context().exit(1)


def _to_json(found: Differences) -> str:
    return json.dumps(
        {
            "counts": found.counts,
            "settings": found.settings,
            "code_differs": found.code,
            "sessions": found.sessions.to_dicts(),
            "episodes": found.episodes.to_dicts(),
        },
        default=str,
        indent=2,
    )


def _show(found: Differences, limit: int | None) -> None:
    import polars as pl
    from rich.console import Console
    from rich.table import Table

    for text in found.settings:
        click.echo(f"in B {text}")
    if found.code:
        click.echo("other code made them")
    for name, what in (("windows_same", "windows"), ("baselines_same", "baselines")):
        other = found.sessions.filter(~pl.col(name))["trade_date"].to_list()
        if other:
            click.echo(f"{what} differ in {len(other)} sessions, the first is {other[0]}")
    counts = Table("episodes", "")
    for change, count in found.counts.items():
        counts.add_row(change, f"{count:,}")
    console = Console()
    console.print(counts)
    order = {"gained": 0, "lost": 1, "candidate gained": 2, "candidate lost": 3, "changed": 4}
    rows = found.episodes.filter(pl.col("change") != "same").sort(
        pl.col("change").replace_strict(order, return_dtype=pl.Int8), maintain_order=True
    )
    table = Table("change", "session", "contract", "side", "began", "A", "B", "why")
    for row in rows.head(limit or rows.height).iter_rows(named=True):
        table.add_row(
            row["change"],
            str(row["trade_date"]),
            row["symbol_b"] or row["symbol_a"],
            row["dominant_side"],
            _clock(row["start_b"] or row["start_a"]),
            _status(row["status_a"], row["confidence_a"]),
            _status(row["status_b"], row["confidence_b"]),
            row["reason"],
        )
    console.print(table)
    if limit is not None and rows.height > limit:
        click.echo(f"{rows.height - limit:,} more; --all shows them, --out writes them")


def _clock(ns: int) -> str:
    import datetime as dt

    return f"{dt.datetime.fromtimestamp(ns // 10**9, dt.UTC):%H:%M:%S}"


def _status(status: str | None, confidence: float | None) -> str:
    return "–" if status is None else f"{status} {confidence:.2f}"
