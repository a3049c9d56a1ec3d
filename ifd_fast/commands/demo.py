"""`ifd demo`: simulate a market, hide metaorders in it, replay it, count what was found."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ifd_fast.commands.startup import start

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from ifd_fast.demonstration import Demonstration, Hidden

__all__ = ["demo"]

# Kernels of a window judged by itself, and of trades planned ahead: nothing in here calls them.
NOT_CALLED = ("score", "planner")


@click.command()
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="An empty or new folder for all files, which stay. Default: a temporary one, removed.",
)
@click.option("--live", is_flag=True, help="Over a socket, from `ifd gateway` to `ifd live`.")
@click.option("--quiet", is_flag=True, help="Only the scoreboard.")
@click.option("--json", "as_json", is_flag=True, help="Only one JSON object.")
def demo(seed: int, out: Path | None, *, live: bool, quiet: bool, as_json: bool) -> None:
    """Show what this does, in under a minute: no key, no network, no data needed.

    Simulates 20 sessions of history and one in which four metaorders are hidden, replays it,
    prints signals with their reasons as they come, and ends with a scoreboard.
    """
    from rich.console import Console

    from ifd_fast.demonstration import demonstrate
    from ifd_fast.warming import warm_up

    start()
    began = time.monotonic()
    console = Console(width=max(Console().width, 110), highlight=False)
    watcher = _Teller(console, silent=quiet or as_json, live=live)
    warmed = warm_up(apart=True, but=NOT_CALLED)
    if warmed.compiled:
        watcher.say(f"{warmed.compiled} kernels compiled in {warmed.seconds:.0f} s, once for all.")
    watcher.begin()
    with _folder(out) as folder:
        found = demonstrate(folder, seed, watcher, live=live)
        seconds = time.monotonic() - began
        if as_json:
            click.echo(json.dumps(found.to_json() | {"seconds": round(seconds, 1)}, indent=2))
            return
        _print_scoreboard(console, found)
        if found.live is not None:
            _print_live(found.live)
        click.echo(f"{found.records:,} records of the session, {seconds:.0f} s for everything.")
        if out is not None:
            click.echo(f"Files are in {out}.")
            for alert in found.alerts[:1]:
                click.echo(f"Try: ifd explain {alert['signal_id']} --run {found.run}")


class _Teller:
    """Prints how far it is, and alerts as they come."""

    def __init__(self, console: Console, *, silent: bool, live: bool) -> None:
        from rich.progress import Progress

        self.console = console
        self.silent = silent
        self.live = live
        self._told: set[str] = set()
        self._bar = Progress(console=console, transient=True)
        self._task = self._bar.add_task("history", total=None)

    def say(self, text: str) -> None:
        if not self.silent:
            self.console.print(text)

    def begin(self) -> None:
        if not self.silent and self.console.is_terminal:
            self._bar.start()

    def session_made(self, number: int, of: int) -> None:
        if not self.silent and self.console.is_terminal:
            self._bar.update(self._task, completed=number, total=of)
        if number == of:
            self._bar.stop()
            self.say(f"{of} sessions of 600 options simulated and replayed: that is the history.")

    def hidden(self, metaorders: Sequence[Hidden]) -> None:
        self.say(f"\nOne more session, with {len(metaorders)} metaorders hidden in it:")
        for one in metaorders:
            minutes = (one.end_ns - one.start_ns) // 60_000_000_000
            self.say(
                f"  {_clock(one.start_ns)}  {one.symbol:<13} {one.side:<4} {one.contracts} "
                f"contracts in small parts over {minutes} minutes"
            )
        how = "Serving it live, an hour a second" if self.live else "Replaying it"
        self.say(f"\n{how}. Alerts as they come (UTC):")

    def alert(self, signal: dict[str, Any]) -> None:
        from ifd_fast.demonstration import reason_of

        if signal["signal_id"] in self._told:
            return
        self._told.add(signal["signal_id"])
        self.say(
            f"  {signal['timestamp']:%H:%M:%S}  {signal['symbol']:<13} "
            f"{signal['dominant_side']:<4} confidence {signal['final_confidence']:.2f} "
            f"{signal['signal_strength'].lower()}, quality {signal['quality']}:\n"
            f"            {reason_of(signal)}"
        )


@contextlib.contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="ifd-demo-") as folder:
        yield Path(folder)


def _print_scoreboard(console: Console, found: Demonstration) -> None:
    from rich.table import Table

    table = Table(title=f"Scoreboard, seed {found.seed}", title_justify="left", show_edge=False)
    for name in ("hidden", "side", "from (UTC)", "contracts", "found after", "traded by then"):
        table.add_column(name, justify="left" if name in ("hidden", "side") else "right")
    for one in found.hidden:
        after = "missed" if one.found_after_s is None else f"{one.found_after_s:.0f} s"
        traded = "" if one.traded_by_then is None else str(one.traded_by_then)
        clock, contracts = _clock(one.start_ns), str(one.contracts)
        table.add_row(one.symbol, one.side, clock, contracts, after, traded)
    console.print()
    console.print(table)
    for alert in found.false:
        console.print(f"false: {alert['timestamp']:%H:%M:%S} {alert['symbol']}")
    missed = len(found.hidden) - found.found
    console.print(
        f"\nhidden {len(found.hidden)}, found {found.found}, missed {missed}, "
        f"false alerts {len(found.false)}"
    )
    console.print(
        f"The demonstration's profile promises {found.promised:g} false alerts a session; "
        "the default one promises 1."
    )


def _print_live(end: dict[str, Any]) -> None:
    waited = end["latency"]["receive_to_state"]
    click.echo(
        f"Live: {end['records']:,} records over a socket, receive to state p50 "
        f"{waited['p50_us']:,.0f} us, p99 {waited['p99_us']:,.0f} us; the record replayed gave "
        f"the same rows_digest {end['digests']['rows_digest'][:16]}."
    )


def _clock(ts_ns: int) -> str:
    return f"{dt.datetime.fromtimestamp(ts_ns // 10**9, dt.UTC):%H:%M:%S}"
