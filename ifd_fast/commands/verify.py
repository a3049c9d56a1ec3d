"""`ifd verify replay | lookahead | warmup`: promises of a run, checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ifd_fast.commands.startup import progress_bar, start
from ifd_fast.errors import DataError, IfdError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ifd_fast.recordings import Recording
    from ifd_fast.replaying import Progress
    from ifd_fast.verifying import Verdict

__all__ = ["lookahead", "replay", "verify", "warmup"]

_SHOWN_DIGITS = 16


def _options(function: Callable[..., None]) -> Callable[..., None]:
    """Add what all three commands take."""
    path = click.Path(path_type=Path)
    for decorate in (
        click.argument("runs", nargs=-1, required=True, metavar="RUN_DIR...", type=path),
        click.option("--baselines", type=path, help="The store, if it has moved since."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--quiet", is_flag=True, help="No progress bar."),
    ):
        function = decorate(function)
    return function


@click.group()
def verify() -> None:
    """Check what runs promise; RUN_DIR is a folder that `ifd replay --out` wrote.

    Exit codes: 0 everything holds, 1 something differs, 2 wrong usage, 3 the record is another.
    """


@verify.command()
@_options
def replay(runs: tuple[Path, ...], baselines: Path | None, **shown: bool) -> None:
    """Check that recorded equals replayed: the record again, and the files as they are."""
    from ifd_fast.verifying import verify_replay

    _verify(runs, baselines, verify_replay, **shown)


@verify.command()
@_options
@click.option("--cuts", default=3, show_default=True, type=click.IntRange(1, 1000))
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0))
@click.option("--definitions", is_flag=True, help="Cut files of definitions at T too.")
def lookahead(
    runs: tuple[Path, ...],
    baselines: Path | None,
    cuts: int,
    seed: int,
    *,
    definitions: bool,
    **shown: bool,
) -> None:
    """Check that nothing before T depends on data after T: the record is cut at several T."""
    from ifd_fast.verifying import verify_lookahead

    def check(run: Path, recording: Recording, progress: Progress | None) -> Iterable[Verdict]:
        del run
        return verify_lookahead(
            recording, cuts=cuts, seed=seed, definitions=definitions, progress=progress
        )

    _verify(runs, baselines, check, **shown)


@verify.command()
@_options
@click.option("--starts", default=3, show_default=True, type=click.IntRange(1, 1000))
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0))
def warmup(
    runs: tuple[Path, ...], baselines: Path | None, starts: int, seed: int, **shown: bool
) -> None:
    """Check that a longer warm-up changes nothing that has converged.

    Converged are: windows that begin after the stream does; signals of episodes that begin 7,200 s
    (the greatest age the scorer tells apart) and the cooldown after it; estimates of a session,
    once the store holds the lookback. They must be the same to the bit.
    """
    from ifd_fast.verifying import verify_warmup

    def check(run: Path, recording: Recording, progress: Progress | None) -> Iterable[Verdict]:
        del run
        return verify_warmup(recording, starts=starts, seed=seed, progress=progress)

    _verify(runs, baselines, check, **shown)


def _verify(
    runs: tuple[Path, ...],
    baselines: Path | None,
    check: Callable[[Path, Recording, Progress | None], Iterable[Verdict]],
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check each run, print all verdicts, raise IfdError if one doesn't hold."""
    from ifd_fast.recordings import open_recording

    start()
    found: list[tuple[Path, Verdict]] = []
    for run in runs:
        recording = open_recording(run, baselines=baselines)
        changed = recording.changed_files()
        if changed:
            raise DataError("\n".join(changed))
        with progress_bar(f"verify {run}", quiet=quiet) as progress:
            found += [(run, one) for one in check(run, recording, progress)]
    rows = [_row(run, one) for run, one in found]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _print(rows)
    failed = sum(not one.held for _, one in found)
    if failed:
        raise IfdError(f"{failed} of {len(found)} comparisons differ.")


def _row(run: Path, one: Verdict) -> dict[str, Any]:
    return {
        "run": str(run),
        "what": one.what,
        "compared": one.compared,
        "expected": one.expected,
        "actual": one.actual,
        "held": one.held,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_edge=False)
    for name in ("run", "what", "compared", "expected", "actual", ""):
        table.add_column(name)
    for row in rows:
        texts = [str(row[name] or "none")[:_SHOWN_DIGITS] for name in ("expected", "actual")]
        empty = row["expected"] is None and row["actual"] is None
        verdict = "nothing there" if empty else "holds" if row["held"] else "DIFFERS"
        table.add_row(row["run"], row["what"], row["compared"], *texts, verdict)
    Console(width=max(Console().width, 130), highlight=False).print(table)
