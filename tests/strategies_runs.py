"""A recorded run with over a thousand signals: what the tests of `explain` and `verify` share."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from click.testing import CliRunner

from ifd_fast.cli import group
from ifd_fast.errors import IfdError
from ifd_fast.replaying import replay
from tests.strategies_interface import CALL, FUTURE, OPEN, SECOND, definitions, event, head, store
from tests.strategies_wire import mbo

__all__ = ["Done", "bursts", "copy_run", "invoke", "recorded_run", "timed_bursts"]

EPISODES = 12
TRADES = 60
EVERY_S = 4_800  # evidence of the longest window is over by then
OPTIONS = range(CALL, CALL + 6)
# A row each 25 s while the evidence lasts.
PROFILE = """
base = "ifd_v3_testing"
[scoring]
cooldown_s = 25.0
min_overall_confidence = 0.9
lookback_days = 20
[engine]
ring_capacity_events = 1024
book_capacity_orders = 16
book_capacity_instruments = 16
[log]
level = "info"
"""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    output: str


def invoke(*arguments: object) -> Done:
    """Run `ifd` with arguments in this process; errors give their exit code, as on a shell."""
    result = CliRunner().invoke(group, [str(one) for one in arguments])
    if isinstance(result.exception, IfdError):
        text = f"{result.output}error: {result.exception}"
        return Done(result.exception.exit_code, text)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.output)


def bursts() -> bytes:
    """Return a stream: six options traded one-sidedly in bursts, each with a quote that moves."""
    return head() + definitions() + b"".join(data for _, data in timed_bursts())


def timed_bursts() -> list[tuple[float, bytes]]:
    """Return the records of `bursts`, in order, each with its seconds since the open."""
    timed: list[tuple[float, bytes]] = []
    for episode in range(EPISODES):
        for place, instrument_id in enumerate(OPTIONS):
            start = 3_600.05 + episode * EVERY_S + place * 0.13
            buying = (place + episode) % 2 == 0
            timed += _quotes(start, instrument_id, episode)
            side = "B" if buying else "A"
            timed += [
                (at, event(at, instrument_id, side, size=3))
                for at in (start + 1 + 2.2 * number for number in range(TRADES))
            ]
    timed += [(at, event(at, FUTURE)) for at in range(3_600, 3_600 + EPISODES * EVERY_S, 900)]
    timed.sort(key=lambda one: one[0])
    return timed


def _quotes(start: float, instrument_id: int, episode: int) -> list[tuple[float, bytes]]:
    """Return a bid at 10 and an ask at 11 points that step up with each episode."""
    points = 10**9
    quotes = []
    for side, price in (("B", 10 + episode), ("A", 11 + episode)):
        ts_event = OPEN + round(start * SECOND)
        fields: dict[str, Any] = {"side": side, "price": price * points, "size": 7}
        data = mbo(
            action="M" if episode else "A",
            order_id=10 * instrument_id + (side == "A"),
            instrument_id=instrument_id,
            ts_event=ts_event,
            ts_recv=ts_event + 100_000,
            **fields,
        )
        quotes.append((start, data))
    return quotes


@cache
def recorded_run() -> Path:
    """Return the folder of a run over `bursts`; the record and the profile lie beside it."""
    folder = Path(tempfile.mkdtemp(prefix="ifd-recorded-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "bursts.dbn").write_bytes(bursts())
    (folder / "profile.toml").write_text(PROFILE)
    run = folder / "run"
    replay(folder / "bursts.dbn", profile=folder / "profile.toml", baselines=store(), out=run)
    return run


def copy_run(to: Path) -> tuple[Path, pl.DataFrame]:
    """Return a copy of the recorded run without its signals, and the signals."""
    run = recorded_run()
    shutil.copytree(run, to)
    (to / "signals.parquet").unlink()
    return to, pl.read_parquet(run / "signals.parquet")
