"""`ifd replay`: DBN files to windows and signals."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ifd_fast.commands.startup import start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ifd_fast.replaying import Progress

__all__ = ["replay"]


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--definitions",
    multiple=True,
    type=click.Path(path_type=Path),
    help="DBN file of schema definition for the same days; may be repeated.",
)
@click.option("--profile", help="A packaged profile's name or a file (ifd config show).")
@click.option("--baselines", type=click.Path(path_type=Path), help="Baseline store (DuckDB).")
@click.option("--window", "window_s", type=int, metavar="S", help="Length of a window, seconds.")
@click.option(
    "--window-step", "window_step_s", type=int, metavar="S", help="From one end to the next."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the run's files.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
def replay(
    files: tuple[Path, ...],
    definitions: tuple[Path, ...],
    profile: str | None,
    baselines: Path | None,
    window_s: int | None,
    window_step_s: int | None,
    out: Path | None,
    quiet: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Replay DBN FILES (.dbn or .dbn.zst), together one stream, to windows and signals.

    With --out, writes windows.parquet, signals.parquet, facts.parquet, instruments.parquet,
    session.json and summary.txt, all of them or none.
    """
    from ifd_fast.replaying import replay as run

    start(profile, {"window_s": window_s, "window_step_s": window_step_s})
    with _progress_bar(quiet=quiet) as progress:
        result = run(
            list(files),
            definitions=definitions,
            profile=profile,
            baselines=baselines,
            window_s=window_s,
            window_step_s=window_step_s,
            out=out,
            progress=progress,
        )
    if not quiet:
        click.echo(result.summary, nl=False)
        if out is not None:
            click.echo(f"written to {out}")


@contextmanager
def _progress_bar(*, quiet: bool) -> Iterator[Progress | None]:
    """Show bytes read and records applied on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("replay"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[events]:>13,} events"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("replay", total=None, events=0)

        def show(bytes_read: int, bytes_total: int, records: int) -> None:
            bar.update(task, completed=bytes_read, total=bytes_total, events=records)

        yield show
