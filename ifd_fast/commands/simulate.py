"""`ifd simulate`: write a synthetic market as DBN files."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

from ifd_fast.commands.startup import start
from ifd_fast.errors import UsageError

__all__ = ["simulate"]


@click.command()
@click.option("--preset", default="session", show_default=True, help="A world's name or file.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0))
@click.option("--sessions", type=click.IntRange(min=1), help="How many trade dates [the preset's].")
@click.option(
    "--start-date", default="2026-01-05", show_default=True, help="First trade date, YYYY-MM-DD."
)
@click.option("--records", type=click.IntRange(min=1), help="Stop each session after so many.")
@click.option(
    "--span",
    type=click.FloatRange(min=0.001),
    help="Seconds of event time over which to spread the --records.",
)
@click.option(
    "--out", default="simulated", show_default=True, type=click.Path(path_type=Path), help="Folder."
)
@click.option("--compress/--no-compress", default=True, show_default=True, help="Write .dbn.zst.")
@click.option(
    "--plant",
    "plants",
    multiple=True,
    metavar="SYMBOL:BUY|SELL:START_S:DURATION_S:CONTRACTS[:CHILDREN]",
    help="A metaorder, seconds from the open; in the last session. Repeatable.",
)
@click.option(
    "--plants",
    "metaorders",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Metaorders a session, sized by k; needs a world with [labels].",
)
@click.option(
    "--negatives",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Hard negatives a session, likewise.",
)
@click.option("--null", "is_null", is_flag=True, help="Plant nothing, and say so.")
@click.option(
    "--report", is_flag=True, help="Print the marginals of the last session, real ones beside."
)
@click.option(
    "--beside",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A real MBO file for the --report. Repeatable.",
)
def simulate(
    preset: str,
    seed: int,
    sessions: int | None,
    start_date: str,
    records: int | None,
    span: float | None,
    out: Path,
    compress: bool,  # noqa: FBT001  # click passes by name
    plants: tuple[str, ...],
    metaorders: int,
    negatives: int,
    is_null: bool,  # noqa: FBT001
    report: bool,  # noqa: FBT001
    beside: tuple[Path, ...],
) -> None:
    """Write a seeded option chain on a moving future as DBN files, with the truth about it.

    The same preset, seed and date give the same bytes, however many sessions are asked for.
    """
    from rich.progress import Progress

    from ifd_fast.simreport import print_marginals
    from ifd_fast.simulated_files import parse_plant, pick_sessions, spread_records, write_session
    from ifd_fast.world import load_world

    start()
    world = load_world(preset)
    if is_null and (plants or metaorders or negatives):
        raise UsageError("`--null` plants nothing: leave out --plant, --plants and --negatives.")
    if span is not None:
        if records is None:
            raise UsageError("`--span` needs `--records`: how many to spread.")
        world = spread_records(world, records, span)
    try:
        first = dt.date.fromisoformat(start_date)
    except ValueError:
        raise UsageError(f"`--start-date` must be YYYY-MM-DD, was {start_date!r}.") from None
    wanted = [parse_plant(text) for text in plants]
    days = pick_sessions(first, sessions or world.sessions)
    with Progress(transient=True) as progress:
        task = progress.add_task("Simulating", total=len(days))
        written = []
        for number, session in enumerate(days):
            planted = wanted if number == len(days) - 1 else []
            written.append(
                write_session(
                    world,
                    seed,
                    session,
                    out,
                    compress=compress,
                    plants=planted,
                    records=records,
                    metaorders=metaorders,
                    negatives=negatives,
                )
            )
            progress.advance(task)
    for result in written:
        click.echo(
            f"{result.trade_date}  {result.records:>12,} records  {result.trades:>9,} trades  "
            f"{result.bytes_raw / max(result.bytes_file, 1):5.2f} x smaller  {result.path}"
        )
    if report:
        print_marginals([written[-1].path, *beside])
