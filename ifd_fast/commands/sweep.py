"""`ifd sweep`: thresholds tried on a re-scoring, without a byte of the feed."""

from __future__ import annotations

from pathlib import Path

import click

from ifd_fast.commands.startup import stage_bar, start

__all__ = ["sweep"]


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--set",
    "wanted",
    multiple=True,
    required=True,
    metavar="KEY=V1,V2,...",
    help="A threshold of [scoring] and its values; all combinations are tried. Repeatable.",
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--cluster", metavar="ADDRESS", help="Dask scheduler to run on, tcp://host:port.")
@click.option(
    "--truth",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the simulation: alerts are held against what was planted.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for a row a set and session: .parquet, .csv or .json.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def sweep(
    run: Path,
    wanted: tuple[str, ...],
    workers: int,
    cluster: str | None,
    truth: Path | None,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Score the sessions of RUN, a folder of `ifd rescore`, by every combination of thresholds.

    No profile is changed. What a set would have alerted, and with --truth what it would have found
    and what would have been false, is a row of the table.
    """
    from ifd_fast.executing import Workers
    from ifd_fast.sweeping import parse_sets
    from ifd_fast.sweeping import sweep as run_sweep

    start()
    write = _writer_of(out)
    sets = parse_sets(wanted)
    with stage_bar({"sweep": "sessions"}, quiet=as_json) as progress:
        found = run_sweep(run, sets, Workers(workers, cluster), truth=truth, progress=progress)
    if out is not None:
        getattr(found.sessions, write)(out)
    if as_json:
        click.echo(found.sets.write_json())
        return
    _show(found.sets.drop("set"))


def _writer_of(out: Path | None) -> str:
    from ifd_fast.errors import UsageError

    writers = {".parquet": "write_parquet", ".csv": "write_csv", ".json": "write_json"}
    if out is not None and out.suffix not in writers:
        raise UsageError(f"`--out` must end in {', '.join(writers)}, was {str(out)!r}.")
    return "" if out is None else writers[out.suffix]


def _show(table: object) -> None:
    import polars as pl
    from rich.console import Console
    from rich.table import Table

    assert isinstance(table, pl.DataFrame)  # noqa: S101 - tells the type checker
    shown = Table(*table.columns)
    for row in table.iter_rows():
        shown.add_row(*("–" if one is None else f"{one:.4g}" if isinstance(one, float)
                        else f"{one:,}" for one in row))  # fmt: skip
    Console().print(shown)
