"""What a live session does at a rate that is asked for: latency, bursts, ten minutes of a flood.

The market is a process of its own (`bench.live_source`), the engine has the last core, its keeper
and the market the others. Each measurement is a process: `python -m bench.live_numbers NAME FILE
DEFINITIONS FOLDER [SECONDS]` prints one JSON object.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from bench.live_history import QuietHistory
from ifd_fast.calendar import load_sessions
from ifd_fast.config import load_settings
from ifd_fast.credentials import parse_api_key
from ifd_fast.gateway_market import TEST_KEY
from ifd_fast.histories import History
from ifd_fast.latencies import Latency
from ifd_fast.live_run import LiveRun
from ifd_fast.live_settings import LiveSettings
from ifd_fast.live_states import State
from ifd_kernels.layout import ACTION_TRADE, MBO_BYTES, SECOND_NS

__all__ = ["MEASURES"]

WARM_S: Final = 5.0
LAG_NS: Final = 10_000_000
LONGEST_S: Final = 3_600.0
NS_PER_MS: Final = 1e6
INSTRUMENT_AT: Final = 4  # byte of a record; the number's lowest
ACTION_AT: Final = 38  # the side is the byte behind it

MEASURES: dict[str, Callable[..., dict[str, Any]]] = {}


def measure(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Register a measurement under its function's name."""
    MEASURES[function.__name__] = function
    return function


class MarketClock:
    """Tells the market's time: the two processes share a monotonic clock."""

    def __init__(self, base_ns: int, began_ns: int) -> None:
        self._ahead_ns = base_ns - began_ns

    def wall_ns(self) -> int:
        """Return the market's time, ns UTC."""
        return time.monotonic_ns() + self._ahead_ns

    def monotonic_ns(self) -> int:
        """Return ns since the machine began."""
        return time.monotonic_ns()


class Source(NamedTuple):
    """A market under way."""

    port: int
    clock: MarketClock
    process: subprocess.Popen[str]

    def sent(self) -> int:
        """Return how many records it has sent, once it has sent all."""
        return int(read_line(self.process))


@contextmanager
def market(files: tuple[str, str], plan: list[str]) -> Iterator[Source]:
    """Run a market that sends `files` as `plan` says."""
    sessions = load_sessions(load_settings(environ={}).profile.calendar)
    base_ns = int(sessions.open_ns[len(sessions) // 2]) + 3_700 * SECOND_NS
    with beside("bench.live_source", *files, str(base_ns), *plan) as process:
        port, began_ns = read_line(process).split()
        yield Source(int(port), MarketClock(base_ns, int(began_ns)), process)


@contextmanager
def beside(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a module as a process on the cores that are not the engine's."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, others())
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints."""
    return "" if process.stdout is None else process.stdout.readline()


def core() -> int:
    """Return the engine's core."""
    return max(CORES)


def others() -> set[int]:
    """Return everybody else's cores."""
    return (CORES - {core()}) or CORES


CORES: Final = os.sched_getaffinity(0)


def make_run(
    port: int, folder: Path, clock: MarketClock | None = None, history: History | None = None
) -> LiveRun:
    """Return a session that is busy on the engine's core; without a clock the feed's is taken."""
    settings = load_settings(environ={})
    wanted = LiveSettings.of_profile(
        settings.profile, gateway=f"127.0.0.1:{port}", market_clock=clock is None
    )
    key = parse_api_key(TEST_KEY, "key")
    return LiveRun(
        settings, wanted, key, folder, history=history, is_busy=True, core=core(), clock=clock
    )


def run_session(
    source: Source,
    folder: Path,
    watch: Callable[[LiveRun], bool],
    history: History | None = None,
) -> LiveRun:
    """Run a session until the market hangs up or `watch` says that it's over."""
    run = make_run(source.port, folder, source.clock, history)

    def is_over() -> bool:
        return run.session.state is State.RECOVERING or watch(run)

    run.run(is_over, time.monotonic() + LONGEST_S)
    return run


@measure
def latency(files: tuple[str, str], folder: Path, seconds: float = 20.0) -> dict[str, Any]:
    """Time records at 200 k a second, once the session is warm."""
    return time_waits(files, folder, seconds)


@measure
def handed_over(files: tuple[str, str], folder: Path, seconds: float = 60.0) -> dict[str, Any]:
    """Time signals at 200 k records a second, against a history that makes many of them.

    An eighth of the options trade on one side only: W1 trades on both, and nothing is found.
    """
    market_file = folder.with_suffix(".dbn")
    try:
        lean_trades(Path(files[0]), market_file)
        return time_waits((str(market_file), files[1]), folder, seconds, QuietHistory())
    finally:
        market_file.unlink(missing_ok=True)


def lean_trades(path: Path, to: Path) -> None:
    """Copy a file; in a sixteenth of the instruments only buyers trade, in another only sellers."""
    raw = np.fromfile(path, np.uint8)
    begin = 8 + int.from_bytes(raw[4:8].tobytes(), "little")
    records = raw[begin:].reshape(-1, MBO_BYTES)
    trades = records[:, ACTION_AT] == ACTION_TRADE
    part = records[:, INSTRUMENT_AT] % 16
    for which, side in ((0, "A"), (1, "B")):
        records[trades & (part == which), ACTION_AT + 1] = ord(side)
    raw.tofile(to)


def time_waits(
    files: tuple[str, str], folder: Path, seconds: float, history: History | None = None
) -> dict[str, Any]:
    """Return what records and signals waited at 200 k records a second."""
    fresh: list[float] = []

    def watch(run: LiveRun) -> bool:
        timing, now_s = run.session.timing, time.monotonic()
        if not fresh and run.session.state is State.LIVE:
            fresh.append(now_s + WARM_S)
        elif len(fresh) == 1 and now_s >= fresh[0]:
            fresh.append(now_s)
            timing.latencies.update({name: Latency() for name in timing.latencies})
        return False

    with market(files, [f"200000:{WARM_S + seconds + 2:g}"]) as source:
        run = run_session(source, folder, watch, history)
    return run.session.timing.describe()


@measure
def burst(files: tuple[str, str], folder: Path, records: float = 2e6) -> dict[str, Any]:
    """Send two million records at once; say how long the newest record was late by over 10 ms."""
    times: list[tuple[int, int]] = []

    def watch(run: LiveRun) -> bool:
        if run.session.state is not State.REPLAYING:
            times.append((time.monotonic_ns(), run.session.timing.lag_ns))
        return False

    plan = [f"200000:{WARM_S:g}", f"burst:{records:.0f}", "200000:6"]
    with market(files, plan) as source:
        run = run_session(source, folder, watch)
        lost = source.sent() - taken(run)
    lags_ns = np.array(times)
    worst = int(lags_ns[:, 1].argmax())
    calm = np.flatnonzero(lags_ns[:, 1] < LAG_NS)
    first, last = calm[calm < worst].max(initial=0), calm[calm > worst].min(initial=len(times) - 1)
    late_s, worst_ns = (lags_ns[last, 0] - lags_ns[first, 0]) / SECOND_NS, lags_ns[worst, 1]
    return {
        "late_s": float(late_s),
        "worst_ms": float(worst_ns / NS_PER_MS),
        "lost": lost,
        **totals(run),
    }


@measure
def sustained(files: tuple[str, str], folder: Path, seconds: float = 600.0) -> dict[str, Any]:
    """Send a million records a second; say what came, and how memory was after a minute."""
    resident: list[tuple[float, int]] = []

    def watch(_: LiveRun) -> bool:
        now_s = time.monotonic()
        if not resident or now_s >= resident[-1][0] + 5.0:
            resident.append((now_s, resident_bytes()))
        return False

    with market(files, [f"1000000:{seconds:g}"]) as source:
        cpu_s = time.process_time()
        run = run_session(source, folder, watch)
        cpu_s = time.process_time() - cpu_s
        lost = source.sent() - taken(run)
    early = [size for at_s, size in resident if at_s >= resident[0][0] + seconds / 10]
    return {
        **totals(run),
        "lost": lost,
        "seconds": seconds,
        "cpu_share": cpu_s / seconds,
        "resident_mb": [early[0] >> 20, early[-1] >> 20, peak_bytes() >> 20],
        "lag_ms_p99": run.session.timing.describe()["sender_lag"]["p99_us"] / 1e3,
    }


@measure
def reconnect(files: tuple[str, str], folder: Path, speed: float = 360.0) -> dict[str, Any]:
    """Have connections end and be reset, six times; say how long the session was not live."""
    plan = folder.with_suffix(".toml")
    kinds = ("eof", "reset") * 3
    plan.write_text(
        "".join(
            f'[[fault]]\nkind = "{kind}"\nafter_records = {600_000 + 500_000 * number}\n'
            for number, kind in enumerate(kinds)
        ),
        "utf-8",
    )
    lost_ns: list[int] = []
    away_s: list[float] = []

    def watch(run: LiveRun) -> bool:
        state = run.session.state
        if state is State.RECOVERING and len(lost_ns) == len(away_s):
            lost_ns.append(time.monotonic_ns())
        elif state is State.LIVE and len(lost_ns) > len(away_s):
            away_s.append((time.monotonic_ns() - lost_ns[-1]) / SECOND_NS)
        return len(away_s) == len(kinds)

    arguments = [*files, "--port", "0", "--speed", f"{speed:g}x", "--faults", str(plan)]
    with beside("ifd_fast", "gateway", *arguments) as process:
        port = int(read_line(process).rpartition("127.0.0.1:")[2].partition(";")[0])
        run = make_run(port, folder)
        run.run(lambda: watch(run), time.monotonic() + LONGEST_S)
    return {"away_s": away_s, "longest_s": max(away_s, default=0.0), **totals(run)}


def taken(run: LiveRun) -> int:
    """Return how many MBO records were applied."""
    return int(run.engine.state.actions.sum())


def totals(run: LiveRun) -> dict[str, Any]:
    """Return what came and what became of it."""
    found = run.found  # what `session.json` says
    return {name: found[name] for name in ("records", "skipped", "windows", "connections")}


def resident_bytes() -> int:
    """Return what this process has in memory, shared memory of the ring included."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    """Return the most this process had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main(name: str, file: str, definitions: str, folder: str, *much: str) -> None:
    """Measure and print."""
    found = MEASURES[name]((file, definitions), Path(folder), *map(float, much))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
