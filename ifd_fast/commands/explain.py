"""`ifd explain`: a signal rebuilt from record, settings and baselines alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ifd_fast.commands.startup import progress_bar, start
from ifd_fast.errors import DataError, IfdError, UsageError

if TYPE_CHECKING:
    from ifd_fast.explaining import Explanation
    from ifd_fast.recordings import Recording

__all__ = ["explain"]

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("ids", nargs=-1, metavar="ID...")
@click.option("--run", type=_PATH, help="A folder that `ifd replay` wrote: it names all the rest.")
@click.option("--record", multiple=True, type=_PATH, help="DBN file; may be repeated.")
@click.option(
    "--definitions", multiple=True, type=_PATH, help="DBN file of schema definition; likewise."
)
@click.option("--baselines", type=_PATH, help="Baseline store (DuckDB).")
@click.option("--profile", help="A packaged profile's name or a file.")
@click.option(
    "--at",
    type=click.Choice(["alert", "first", "all"]),
    default="alert",
    show_default=True,
    help="Which row of the id's episode: its first alert, its first row, or all of them.",
)
@click.option("--all", "everything", is_flag=True, help="Find every signal of the run anew.")
@click.option("--anyway", is_flag=True, help="Go on although a file is not the one recorded.")
@click.option("--all-trades", is_flag=True, help="List every trade of the windows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--out", type=_PATH, help="Folder for the explanation as JSON and text.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def explain(
    ids: tuple[str, ...],
    run: Path | None,
    record: tuple[Path, ...],
    definitions: tuple[Path, ...],
    baselines: Path | None,
    profile: str | None,
    at: str,
    out: Path | None,
    *,
    everything: bool,
    anyway: bool,
    all_trades: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Rebuild signals by their ID: trades, window, book, history, components, gates, digests.

    Nothing that a run wrote of its signals is used; if it is there, it is compared. With --all
    and --run (or the folder in place of an ID), all signals are found anew and held against the
    recorded digest.

    Exit codes: 0 the same, 1 it differs, 2 an unknown id or other settings, 3 another record or
    other baselines.
    """
    from ifd_fast.recordings import open_recording

    start(profile)
    if everything and run is None and len(ids) == 1:
        run = Path(ids[0])
    recording = open_recording(
        run, record=[*record, *definitions], baselines=baselines, profile=profile
    )
    changed = recording.changed_files()
    if changed and not anyway:
        raise DataError("\n".join([*changed, "Nothing can be explained from it (--anyway tries)."]))
    for text in changed:
        click.echo(f"warning: {text}", err=True)
    if everything:
        _reproduce(recording, run, as_json=as_json, quiet=quiet)
        return
    if not ids:
        raise UsageError("Name a signal's id, as in the column signal_id, or --run DIR --all.")
    from ifd_fast.explaining import explain as rebuild

    with progress_bar("explain", quiet=quiet) as progress:
        found = rebuild(ids, recording, at=at, progress=progress)
    _show(found, out, as_json=as_json, all_trades=all_trades)
    _compare(found, run)


def _reproduce(recording: Recording, run: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Find all signals anew, and hold them against the recorded digest and the file."""
    from ifd_fast.digests import SignalDigest
    from ifd_fast.explaining import reproduce, stored_signals

    if run is None:
        raise UsageError("--all needs --run DIR: a folder that `ifd replay` wrote.")
    with progress_bar("explain", quiet=quiet) as progress:
        found = reproduce(recording, progress)
    stored = stored_signals(run)
    in_file = SignalDigest()
    if stored is not None:
        in_file.update(stored)
    recorded = recording.found.get("signals_digest")
    result = {
        "signals": found.frame.height,
        "signals_digest": found.signals_digest,
        "recorded_digest": recorded,
        "file_digest": in_file.signals_digest,
        "file": "gone" if stored is None else f"{stored.height} signals",
        "same": found.signals_digest == recorded
        and (stored is None or in_file.signals_digest == recorded),
    }
    click.echo(
        json.dumps(result, indent=2)
        if as_json
        else "\n".join(f"{name:<16} {value}" for name, value in result.items())
    )
    if not result["same"]:
        raise IfdError(f"The {found.frame.height} signals found anew are not those of the run.")


def _show(found: list[Explanation], out: Path | None, *, as_json: bool, all_trades: bool) -> None:
    from rich.console import Console

    from ifd_fast.explanations import print_explanation, to_json

    documents = [to_json(one) for one in found]
    if as_json:
        click.echo(json.dumps(documents, indent=2))
    else:
        console = Console(width=max(Console().width, 110))
        for one in found:
            print_explanation(console, one, all_trades=all_trades)
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    for one, document in zip(found, documents, strict=True):
        stem = f"{one.signal['signal_id']}-{one.instant_ns}"
        (out / f"{stem}.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        with (out / f"{stem}.txt").open("w", encoding="utf-8") as file:
            print_explanation(Console(file=file, width=110), one, all_trades=True)
    click.echo(f"written to {out}", err=True)


def _compare(found: list[Explanation], run: Path | None) -> None:
    """Raise IfdError if a recount, or the row in the run's file, differs."""
    from ifd_fast.explaining import differing_fields, stored_signals

    stored = stored_signals(run)
    for one in found:
        name = one.signal["signal_id"]
        wrong = [what for what, same in one.checks() if not same]
        if wrong:
            raise IfdError(f"{name}: the trades give another sum: {'; '.join(wrong)}.")
        fields = [] if stored is None else differing_fields(one, stored)
        if fields:
            raise IfdError(f"{name}: signals.parquet has it otherwise: {', '.join(fields)}.")
