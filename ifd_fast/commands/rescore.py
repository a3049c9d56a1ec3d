"""`ifd rescore`: months of recordings to signals, resumable, on any number of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ifd_fast.commands.startup import stage_bar, start

__all__ = ["rescore"]

_TITLES = {"seal": "(a) sealing", "fold": "baselines", "score": "(b) scoring"}


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the run.")
@click.option("--profile", help="A packaged profile's name or a file (ifd config show).")
@click.option(
    "--baselines",
    type=click.Path(path_type=Path),
    help="Baseline store (DuckDB). Default: the sessions of the run are each other's history.",
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--cluster", metavar="ADDRESS", help="Dask scheduler to run on, tcp://host:port.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Folder for copies of sources from URLs. Default: `sources` in --out.",
)
@click.option("--resume", is_flag=True, help="Go on with a run that did not end.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
def rescore(
    sources: tuple[str, ...],
    out: Path,
    profile: str | None,
    baselines: Path | None,
    workers: int,
    cluster: str | None,
    cache: Path | None,
    *,
    resume: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Score SOURCES again: DBN files, folders, globs, URLs, records of `ifd live`, earlier results.

    Stage (a) plays each unit of files once and seals its sessions; stage (b) scores every session
    against those before it. What was finished with the same inputs, code and settings is kept, so
    other thresholds cost stage (b) alone: name the same folder again, or give an earlier result
    as the only SOURCE of a new one. A file that can't be used is set aside and named at the end
    (exit code 3).
    """
    from ifd_fast.rescore_files import RescoreFolder
    from ifd_fast.rescore_run import Request
    from ifd_fast.rescore_run import rescore as run
    from ifd_fast.rescore_sources import choose_sources

    settings = start(profile)
    chosen = choose_sources(sources, RescoreFolder(out), cache or out / "sources")
    request = Request(
        chosen.paths, out, settings, baselines, workers, cluster, resume=resume,
        refused=chosen.refused, notes=chosen.notes,
    )  # fmt: skip
    with stage_bar(_TITLES, quiet=quiet or as_json) as progress:
        result = run(request, progress)
    if as_json:
        import json

        click.echo(json.dumps(result.report, indent=2))
    elif not quiet:
        _show(result.report, result.notes)
    if result.failed:
        from ifd_fast.errors import DataError

        names = "\n".join(f"  {one['unit']}: {one['error']}" for one in result.failed)
        raise DataError(f"{len(result.failed)} sources were set aside:\n{names}")


def _show(report: dict[str, Any], notes: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("session", "windows", "candidates", "alerts", "promised", "history")
    for one in report["sessions"]:
        ranking = one["ranking"]
        table.add_row(
            one["trade_date"],
            f"{one['windows']:,}",
            f"{one['candidates']:,}",
            f"{one['alerts']:,}",
            f"{ranking['promised_false_alerts']:g}" if ranking and ranking["ready"] else "–",
            f"{ranking['sessions']:.1f} sessions" if ranking else "none",
        )
    Console().print(table)
    for note in notes:
        click.echo(note)
    digests = report["digests"]
    click.echo(f"rows_digest    {digests['rows_digest'] or '-'}")
    click.echo(f"signals_digest {digests['signals_digest'] or '-'}")
