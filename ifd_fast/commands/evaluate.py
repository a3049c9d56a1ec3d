"""`ifd evaluate`: signals against planted truth, beside bounds and rivals."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ifd_fast.commands.startup import start
from ifd_fast.errors import IfdError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from ifd_fast.evaluating import Plan, Progress

__all__ = ["evaluate"]

LINES_S = 20.0
# sessions: planted, null, power, fine
QUICK = (4, 6, 2, 2)


@click.command()
@click.option("--world", default="evaluation", show_default=True, help="A world's name or file.")
@click.option("--sessions", default=40, show_default=True, type=click.IntRange(min=1),
              help="With 6 planted episodes and 20 hard negatives each.")  # fmt: skip
@click.option("--null-sessions", default=60, show_default=True, type=click.IntRange(min=2),
              help="With nothing planted: what false alerts are counted on.")  # fmt: skip
@click.option("--power-sessions", default=20, show_default=True, type=click.IntRange(min=0),
              help="With 24 planted episodes each, for recall alone.")  # fmt: skip
@click.option("--history-sessions", default=20, show_default=True, type=click.IntRange(min=1))
@click.option("--worlds", default=0, show_default=True, type=click.IntRange(min=0),
              help="Also so many worlds drawn from the world's ranges.")  # fmt: skip
@click.option("--claims", default=0, show_default=True, type=click.IntRange(min=0),
              help="Calibrate by so many claims; plays planted sessions for them.")  # fmt: skip
@click.option("--skip", multiple=True, help="Leave out: mirrors, claims, stress or worlds.",
              type=click.Choice(["mirrors", "claims", "stress", "worlds"]))  # fmt: skip
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(min=1, max=256))
@click.option("--profile", default="ifd_v3_production", show_default=True)
@click.option(
    "--out",
    default="outputs/evaluation",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder; what it has is not run again.",
)
@click.option("--stress", is_flag=True, help="Also markets it was not trained on.")
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Only fit the confidence's weights, to sessions that no evaluation plays.",
)
@click.option("--histories", default=4, show_default=True, type=click.IntRange(1, 99),
              help="All sessions are dealt out over so many.")  # fmt: skip
@click.option("--quick", is_flag=True, help="A few sessions, to see that everything works.")
def evaluate(
    world: str,
    sessions: int,
    null_sessions: int,
    power_sessions: int,
    history_sessions: int,
    worlds: int,
    claims: int,
    skip: tuple[str, ...],
    seed: int,
    workers: int,
    profile: str,
    out: Path,
    stress: bool,  # noqa: FBT001  # click passes by name
    calibrate: Path | None,
    histories: int,
    quick: bool,  # noqa: FBT001
) -> None:
    """Play simulated sessions with planted truth through the engine and count what it finds.

    Writes evaluation.json and evaluation.html. Exit code 1 if the clairvoyant, who knows when,
    how long and how large, is beaten anywhere: then the run itself is at fault.
    """
    from ifd_fast.evaluating import Plan, Workers
    from ifd_fast.evaluation_run import Wanted, run_parts
    from ifd_fast.evaluation_tables import print_document
    from ifd_fast.world import load_world

    start(profile)
    counts = QUICK if quick else (sessions, null_sessions, power_sessions, min(sessions, 30))
    plan = Plan(
        world=load_world(world), seed=seed, profile=profile, sessions=counts[0],
        null_sessions=counts[1], power_sessions=counts[2], fine_sessions=counts[3],
        mirrors=1 if quick else 3, history_sessions=history_sessions,
        histories=1 if quick else histories,
    )  # fmt: skip
    if calibrate is not None:
        _calibrate(plan, histories, out, workers, calibrate)
        return
    wanted = Wanted(claims, worlds, stress, skip, " ".join(["ifd", *sys.argv[1:]]))
    with _progress_bar() as progress, Workers(workers, progress) as team:
        document = run_parts(plan, wanted, out, team)
    print_document(document)
    click.echo(f"written to {out / 'evaluation.html'} and {out / 'evaluation.json'}")
    if document["faults"]:
        raise IfdError("The clairvoyant is beaten: " + " ".join(document["faults"]))


def _calibrate(plan: Plan, histories: int, out: Path, workers: int, path: Path) -> None:
    """Fit the calibration to several histories; print how it does on each when left out."""
    from ifd_fast.evaluating import Workers
    from ifd_fast.evaluation_calibration import calibrate, play_groups

    with _progress_bar() as progress, Workers(workers, progress) as team:
        groups = play_groups(plan, histories, out, team)
    fitted, left_out = calibrate(groups, path)
    for line in left_out:
        click.echo(line)
    click.echo(f"{fitted} written to {path}")


@contextmanager
def _progress_bar() -> Iterator[Progress | None]:
    """Show how many sessions of a step are done: a bar on a terminal, lines elsewhere."""
    from rich import progress as bars
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (
        bars.TextColumn("{task.description:<9}"), bars.BarColumn(), bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
    )  # fmt: skip
    tasks: dict[str, Any] = {}
    with bars.Progress(*columns, console=console, transient=True) as bar:

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield show


def _lines(console: Console) -> Progress:
    """Return what writes a line each LINES_S, and when a step is done."""
    began: dict[str, float] = {}
    written = [0.0]

    def show(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == 1 or what not in began:
            began[what] = now
        if done == total or now - written[0] >= LINES_S:
            written[0] = now
            each_s = (now - began[what]) / max(done - 1, 1)
            left_s = each_s * (total - done)
            console.print(f"{what} {done} of {total}, {left_s:.0f} s left", highlight=False)

    return show
