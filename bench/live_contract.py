"""The contract's table of a live session: each row from a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from bench.live_feed import measure_official, measure_ours, serving

__all__ = ["measure_live"]

# What, the bound, what was measured, whether that meets it, on which workload.
Row: TypeAlias = tuple[str, str, str, bool, str]

ROOT: Final = Path(__file__).resolve().parent.parent
RATE: Final = "W1's records as they happen, 200 k a second over loopback, recorded, engine busy"


def measure_live(arguments: list[str], folder: Path) -> Iterator[Row]:
    """Yield the rows; `arguments` are a replay's of the workload."""
    files = [one for one in arguments if one != "--definitions"]
    yield from cost_rows(files, folder)
    yield from latency_rows(take(files, folder, "latency"))
    yield from handed_rows(take(files, folder, "handed_over"))
    found = take(files, folder, "burst")
    yield ("live: a burst of 2 M records, until the lag is under 10 ms again", "≤ 2 s",
           f"{found['late_s']:.2f} s, {found['lost']} lost", found["late_s"] <= 2.0
           and not found["lost"], RATE)  # fmt: skip
    yield from sustained_rows(take(files, folder, "sustained"))
    found = take(files, folder, "reconnect")
    yield ("live: from a connection's end or reset to live again, longest of six", "≤ 2 s",
           f"{found['longest_s']:.2f} s", found["longest_s"] <= 2.0,
           "W1 from `ifd gateway`, 360 x, three of each")  # fmt: skip
    yield from restart_rows(take(files, folder, "restart", "bench.live_restarts"))


def take(files: list[str], folder: Path, name: str, module: str = "") -> Any:
    """Run one of `bench.live_numbers`, or a module, and return what it found, not its record."""
    record = folder / f"record-{name}"
    done = subprocess.run(
        [sys.executable, "-m", *([module] if module else ["bench.live_numbers", name]),
         *files, str(record)],
        check=True, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    shutil.rmtree(record)
    return json.loads(done.stdout.splitlines()[-1])


def cost_rows(files: list[str], folder: Path) -> Iterator[Row]:
    """Yield what a record costs from our gateway, and what it costs the official client."""
    records = 10_000_000
    with serving(files) as port:
        ours = measure_ours(port, records * 9 // 10, folder / "record")  # not all have a parent
        theirs = measure_official(port, records // 5)
    shutil.rmtree(folder / "record")
    label = f"W1, {records / 1e6:.0f} M records over loopback, recorded, scored each second"
    ratio, rate = theirs.cpu_ns / ours.cpu_ns, 1e3 / ours.wall_ns
    yield ("live: CPU a record, receive to window", "≤ 80 ns", f"{ours.cpu_ns:.0f} ns",
           ours.cpu_ns <= 80, label)  # fmt: skip
    times = f"{ratio:.1f} x less ({theirs.cpu_ns:.0f} ns)"
    yield ("live: against databento.Live with a callback that counts", "≥ 15 x less CPU", times,
           ratio >= 15, "the same gateway")  # fmt: skip
    yield ("live: records a second while they come as fast as they are taken", "≥ 1 M",
           f"{rate:.1f} M", rate >= 1.0, label)  # fmt: skip


def latency_rows(found: Any) -> Iterator[Row]:
    """Yield what records and signals waited."""
    state, arrival = found["receive_to_state"], found["arrival_to_state"]
    met = state["p50_us"] <= 15 and state["p99_us"] <= 150 and state["p999_us"] <= 2_000
    yield ("live: receive to state, p50 / p99 / p99.9", "≤ 15 / 150 / 2,000 us", three(state), met,
           RATE)  # fmt: skip
    yield ("live: look before it to state (bounds a record's wait), p50 / p99 / p99.9", "–",
           three(arrival), True, RATE)  # fmt: skip


def handed_rows(found: Any) -> Iterator[Row]:
    """Yield what signals waited, and how little records did beside them."""
    handed, state = found["instant_to_handed_over"], found["receive_to_state"]
    waited = f"{handed['p99_us']:,.0f} us of {handed['count']:,} signals"
    yield ("live: scoring instant to handed over, p99", "≤ 200 us",
           f"{waited}; records {three(state)}",
           bool(handed["count"]) and handed["p99_us"] <= 200,
           f"{RATE}, an eighth of the options one-sided, against a steady history")  # fmt: skip


def three(one: Any) -> str:
    """Return three percentiles."""
    return f"{one['p50_us']:,.0f} / {one['p99_us']:,.0f} / {one['p999_us']:,.0f} us"


def sustained_rows(found: Any) -> Iterator[Row]:
    """Yield whether ten minutes of a million records a second were kept up with."""
    early, late, peak = found["resident_mb"]
    rate = found["records"] / found["seconds"]
    met = found["lost"] == 0 and rate >= 1e6 and late <= 1.02 * early
    minutes = found["seconds"] / 60
    memory = f"resident {early} MB after a tenth, {late} at the end, {peak} at most"
    measured = f"{rate / 1e6:.2f} M/s, {found['lost']} lost; {memory}"
    yield (f"live: {minutes:.0f} minutes at 1 M records a second", "≥ 1 M/s, none lost, flat",
           f"{measured}; lag p99 {found['lag_ms_p99']:.1f} ms", met,
           "W1's records over and over, as they happen")  # fmt: skip


def restart_rows(found: Any) -> Iterator[Row]:
    """Yield how long a killed session took to be live again."""
    label = "W1 at 200 k a second; from the kill to `live`, a new process included"
    whole, rest = found["without"], found["with"]
    bound_s = 2.0 + whole["records"] / 1e7
    played = f"{whole['played']:,} records played in {whole['play_s']:.1f} s"
    yield ("live: kill -9 to live, without a checkpoint", f"≤ {bound_s:.1f} s",
           f"{whole['seconds']:.1f} s, {played}", whole["seconds"] <= bound_s, label)  # fmt: skip
    yield ("live: kill -9 to live, with a checkpoint", "≤ 5 s",
           f"{rest['seconds']:.1f} s, {rest['played']:,} of {rest['records']:,} records played",
           rest["seconds"] <= 5.0, label)  # fmt: skip
