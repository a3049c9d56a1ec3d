"""`ifd baseline build | show | prune`: the history that scores are measured against."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ifd_fast.commands.startup import start

if TYPE_CHECKING:
    from ifd_fast.baseline_estimates import Arrays

__all__ = ["baseline", "build", "prune", "show"]

_STORE = click.option(
    "--db",
    "store",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The DuckDB file of past sessions. Default: the profile's `baselines.path`.",
)


@click.group()
def baseline() -> None:
    """Build, show and prune the history that scores are measured against."""


@baseline.command()
@click.argument(
    "sources", nargs=-1, metavar="SOURCE...", type=click.Path(exists=True, path_type=Path)
)
@_STORE
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Trade date the estimates are for; only sessions before it count. "
    "Default: the day after the newest session.",
)
@click.option(
    "--lookback-days",
    type=click.IntRange(1, 250),
    help="Sessions of history. Default: the profile's.",
)
@click.option(
    "--definitions",
    multiple=True,
    type=click.Path(path_type=Path),
    help="DBN file of schema definition for DBN sources; may be repeated.",
)
@click.option("--wait", "wait_s", type=float, default=10.0, show_default=True, hidden=True)
def build(
    sources: tuple[Path, ...],
    store: Path | None,
    as_of: dt.datetime | None,
    lookback_days: int | None,
    definitions: tuple[Path, ...],
    wait_s: float,
) -> None:
    """Add SOURCES to the store, then estimate and publish.

    A SOURCE is an output folder of `ifd replay`, or a DBN file, which is replayed first.
    Without a SOURCE the estimates are built from what the store holds.
    """
    from ifd_fast.baselines import arrays_path, rebuild

    profile = start().profile
    store = store or Path(profile.baselines_path)
    lookback = lookback_days or profile.lookback_days
    with tempfile.TemporaryDirectory(prefix="ifd-baseline-") as scratch:
        folders = _folders(sources, definitions, Path(scratch))
        _add(store, folders, wait_s)
    arrays = rebuild(store, as_of.date() if as_of else None, lookback, wait_s=wait_s)
    click.echo(_summary(arrays, arrays_path(store)))


@baseline.command()
@_STORE
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--strike", type=float, help="Show the estimates of one strike, in points.")
def show(store: Path | None, *, as_json: bool, strike: float | None) -> None:
    """Show completeness, anomaly rate and consistency of each session."""
    from ifd_fast.baseline_report import describe_store, describe_strike

    settings = start()
    store = store or Path(settings.profile.baselines_path)
    if strike is not None:
        cells = describe_strike(store, strike)
        _print_table(f"Strike {strike:g}", cells, as_json=as_json)
        return
    report = describe_store(store)
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    derived = report["derived"]
    click.echo(
        f"{report['store']}: {len(report['sessions'])} sessions, "
        + (
            f"estimates as of {derived['as_of']} from {derived['sessions']} of "
            f"{derived['lookback_sessions']} sessions, {derived['cells']} cells"
            if derived
            else "no estimates yet: run `ifd baseline build`"
        )
    )
    _print_table("Sessions", [_readable(row) for row in report["sessions"]], as_json=False)


@baseline.command()
@_STORE
@click.option("--keep-sessions", type=click.IntRange(1), default=60, show_default=True)
def prune(store: Path | None, keep_sessions: int) -> None:
    """Drop all but the newest sessions."""
    from ifd_fast.baseline_store import open_store, prune_sessions
    from ifd_fast.errors import UsageError

    settings = start()
    store = store or Path(settings.profile.baselines_path)
    if not store.is_file():
        raise UsageError(f"No baseline store at {store}. Make one with `ifd baseline build`.")
    with open_store(store, write=True) as connection:
        dropped = prune_sessions(connection, keep_sessions)
    span = f": {dropped[0]} to {dropped[-1]}" if dropped else ""
    click.echo(f"{len(dropped)} sessions dropped{span}")


def _folders(sources: tuple[Path, ...], definitions: tuple[Path, ...], scratch: Path) -> list[Path]:
    """Return the replay folders among `sources`, and one made of its DBN files."""
    folders = [source for source in sources if source.is_dir()]
    files = [source for source in sources if not source.is_dir()]
    if files:
        from ifd_fast.replaying import replay

        replay(files, definitions=definitions, out=scratch / "replay")
        folders.append(scratch / "replay")
    return folders


def _add(store: Path, folders: list[Path], wait_s: float) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from ifd_fast.baselines import add_folders

    if not folders:
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Adding sessions", total=len(folders))
        for folder in folders:
            for added in add_folders(store, [folder], wait_s=wait_s):
                what = "unchanged" if added.unchanged else "added"
                progress.console.print(
                    f"{added.trade_date}  {what}, {added.fact_rows:,} traded windows, "
                    f"{added.listed:,} instruments",
                    highlight=False,
                )
            progress.advance(task)


def _summary(arrays: Arrays, path: Path) -> str:
    as_of = dt.date(1970, 1, 1) + dt.timedelta(days=arrays.as_of_day)
    return (
        f"{len(arrays.cells):,} cells as of {as_of} from {arrays.sessions} of "
        f"{arrays.lookback_sessions} sessions -> {path}"
    )


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f} %"

    return {
        "trade date": row["trade_date"],
        "observed": f"{row['windows_observed']}/{row['windows']}",
        "complete": percent(row["completeness"]),
        "grades": " ".join(f"{grade}:{count}" for grade, count in row["grades"].items()) or "-",
        "listed": row["listed"],
        "traded": row["fact_rows"],
        "anomalies": percent(row["anomaly_rate"]),
        "consistency": "-" if row["consistency"] is None else f"{row['consistency']:.2f}",
    }


def _print_table(title: str, rows: list[dict[str, Any]], *, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo(f"{title}: nothing in the store.")
        return
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=None if Console().is_terminal else 120).print(table)
