"""`ifd replay`: DBN files to windows and signals."""

from __future__ import annotations

from pathlib import Path

import click

from ifd_fast.commands.startup import progress_bar, start

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

    A folder that `ifd live` recorded to is replayed with its journal: the session's very rows.

    With --out, writes windows.parquet, signals.parquet, facts.parquet, handovers.parquet,
    instruments.parquet, session.json and summary.txt, all of them or none.
    """
    from ifd_fast.replaying import replay as run

    if len(files) == 1 and files[0].is_dir():
        _replay_record(files[0], profile, baselines, out, quiet=quiet)
        return
    start(profile, {"window_s": window_s, "window_step_s": window_step_s})
    with progress_bar("replay", quiet=quiet) as progress:
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


def _replay_record(
    folder: Path, profile: str | None, baselines: Path | None, out: Path | None, *, quiet: bool
) -> None:
    from ifd_fast.record_replay import replay_record

    start(profile)
    with progress_bar("replay", quiet=quiet) as progress:
        result = replay_record(
            folder, profile=profile, baselines=baselines, out=out, progress=progress
        )
    if not quiet:
        click.echo(result.summary, nl=False)
        if out is not None:
            click.echo(f"written to {out}")
